package wazuh

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSamples(t *testing.T) {
	const file = "; tests\n\n[Door: wrong key]\nlog 1 pass = Feb  9 11:44:56 host doord[1]: Wrong key = 7\nlog 2 fail = x\nrule = 101\nalert = 5\ndecoder=\n\n[no rule]\na log alone\nlog 1 pass = y\n\n[twice]\nlog 1 pass = a\n  and more\nlog 2 pass = b\nrule = 7\n"
	got, err := Samples("d.ini", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := []Sample{
		{File: "d.ini", Line: 4, Name: "Door: wrong key", Rule: 101, Log: "Feb  9 11:44:56 host doord[1]: Wrong key = 7"},
		{File: "d.ini", Line: 15, Name: "twice", Rule: 7, Log: "a\nand more"},
		{File: "d.ini", Line: 17, Name: "twice", Rule: 7, Log: "b"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for name, tc := range map[string]struct{ file, want string }{
		"no section": {"rule = 1\n", "d.ini:1: a section such as [name] must come first"},
		"no number":  {"[a]\nrule = x\n", `d.ini:2: rule "x" is no number`},
		"too long":   {strings.Repeat(" ", maxSampleFile+1), "at most"},
	} {
		if _, err := Samples("d.ini", []byte(tc.file)); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want …%s…", name, err, tc.want)
		}
	}
}

func FuzzSamples(f *testing.F) {
	f.Add([]byte("[a]\nlog 1 pass = x\nrule = 1\n"))
	f.Add([]byte("[]\n[=]\n= \nlog 1 pass ="))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, _ := Samples("f.ini", data)
		for _, s := range list {
			if s.Rule < 1 || s.Line < 1 {
				t.Errorf("%+v", s)
			}
		}
	})
}
