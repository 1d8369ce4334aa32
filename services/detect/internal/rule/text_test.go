package rule

import "testing"

func TestNotText(t *testing.T) {
	for name, tc := range map[string]struct {
		data         string
		line, column int
		message      string
	}{
		"text":    {"id: ä\n", 0, 0, ""},
		"nothing": {"", 0, 0, ""},
		"Latin 1": {"id: a\ntitle: ä caf\xe9\n", 2, 13, "file is not UTF-8: convert it, for example with iconv -f ISO-8859-1 -t UTF-8"},
		"UTF-16":  {"\xff\xfei\x00d\x00", 1, 1, "file is UTF-16 and not UTF-8: convert it, for example with iconv -f UTF-16 -t UTF-8"},
		"cut":     {"a\xc3", 1, 2, "file is not UTF-8: convert it, for example with iconv -f ISO-8859-1 -t UTF-8"},
	} {
		line, column, message := NotText([]byte(tc.data))
		if line != tc.line || column != tc.column || message != tc.message {
			t.Errorf("%s: %d:%d %s", name, line, column, message)
		}
	}
}
