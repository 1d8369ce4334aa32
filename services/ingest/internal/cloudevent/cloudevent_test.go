package cloudevent

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
)

func headers(kv ...string) http.Header {
	h := http.Header{}
	for i := 0; i < len(kv); i += 2 {
		h.Set(kv[i], kv[i+1])
	}
	return h
}

func TestBinary(t *testing.T) {
	base := []string{"ce-specversion", "1.0", "ce-id", "1", "ce-source", "/models/fraud", "ce-type", "org.kubeflow.serving.inference.request"}
	with := func(kv ...string) http.Header { return headers(append(append([]string{}, base...), kv...)...) }
	const head = `"id":"1","source":"/models/fraud","specversion":"1.0","type":"org.kubeflow.serving.inference.request"`
	for name, tc := range map[string]struct {
		h    http.Header
		body string
		want string
	}{
		"json":            {with("Content-Type", "application/json"), " {\"instances\":[1]}\n", `{"datacontenttype":"application/json",` + head + `,"data":{"instances":[1]}}`},
		"no type is json": {with(), `[1]`, `{` + head + `,"data":[1]}`},
		"broken json":     {with("Content-Type", "application/json"), `{`, `{"datacontenttype":"application/json",` + head + `,"data_base64":"ew=="}`},
		"text":            {with("Content-Type", "text/plain; charset=utf-8"), "a\"b", `{"datacontenttype":"text/plain; charset=utf-8",` + head + `,"data":"a\"b"}`},
		"bytes":           {with("Content-Type", "application/octet-stream"), "\x00\x01", `{"datacontenttype":"application/octet-stream",` + head + `,"data_base64":"AAE="}`},
		"no data":         {with(), "", `{` + head + `}`},
		"escaped":         {with("ce-zone", "M%C3%BCnchen 100%"), "", `{` + head + `,"zone":"M%C3%BCnchen 100%"}`},
		"escaped, sound":  {with("ce-zone", "M%C3%BCnchen"), "", `{` + head + `,"zone":"München"}`},
		"data attribute":  {with("ce-data", "x"), "1", `{` + head + `,"data":1}`},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Binary(nil, tc.h, []byte(tc.body))
			if err != nil || string(got) != tc.want {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	if _, err := Binary(nil, headers("ce-id", "1"), nil); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
	if Key(with()) == "" || Key(with()) != Key(with("ce-type", "x")) || Key(headers()) != "" {
		t.Error("keys")
	}
}

// FuzzBinary: whatever the headers, the event is JSON with data in it.
func FuzzBinary(f *testing.F) {
	f.Add("application/json", "a", []byte(`{"a":1}`))
	f.Add("text/plain", "%zz\xff", []byte("x\x01\xff"))
	f.Add("", "\"", []byte(""))
	f.Fuzz(func(t *testing.T, content, value string, body []byte) {
		h := http.Header{"Content-Type": {content}, "Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Source": {value}, "Ce-Type": {"t"}, "Ce-X" + value: {value}}
		got, err := Binary(nil, h, body)
		if err == nil && (!json.Valid(got) || len(got) > Size(h, body)+64) {
			t.Fatalf("%d bytes, bound %d: %q", len(got), Size(h, body), got)
		}
	})
}
