package match

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWalker(t *testing.T) {
	for name, tc := range map[string]struct {
		in   string
		want [][2]string
	}{
		"values":       {`{"a":"x","b.c":-1.50,"d":true,"e":null,"f":["x",{"y":"}]"}],"g":{}}`, [][2]string{{"a", "x"}, {"b.c", "-1.50"}, {"d", "true"}, {"e", ""}, {"f", `["x",{"y":"}]"}]`}, {"g", "{}"}}},
		"escapes":      {`{"a\"b":"\u00e9\n\\\"\/","c":"\ud83d\ude00","d":"\ud83d!","e":"\u12"}`, [][2]string{{`a"b`, "é\n\\\"/"}, {"c", "😀"}, {"d", "\ufffd!"}, {"e", "\ufffd12"}}},
		"twice":        {`{"a":"1","a":"2"}`, [][2]string{{"a", "1"}, {"a", "2"}}},
		"empty":        {`{}`, nil},
		"nothing":      {``, nil},
		"cut text":     {`{"a":"1","b":"2`, [][2]string{{"a", "1"}}},
		"cut number":   {`{"a":12`, nil},
		"cut key":      {`{"a":"1","b`, [][2]string{{"a", "1"}}},
		"no object":    {`[1,2]`, nil},
		"ends slashed": {`{"a":"\\"}`, [][2]string{{"a", `\`}}},
		"open slash":   {`{"a":"\"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var got [][2]string
			for w := (walker{data: []byte(tc.in)}); w.next(); {
				got = append(got, [2]string{string(appendText(nil, w.key)), string(appendText(nil, w.value))})
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever the bytes, the walk ends; on objects of texts it agrees with the
// standard library.
func FuzzWalker(f *testing.F) {
	f.Add([]byte(`{"a":"x\u0041","b":[1,{"c":"]"}],"d":1e9}`))
	f.Add([]byte(`{"a":"\\\"`))
	f.Fuzz(func(t *testing.T, doc []byte) {
		got := map[string]string{}
		for w := (walker{data: doc}); w.next(); {
			if key := string(appendText(nil, w.key)); len(got) < 1000 {
				if _, have := got[key]; !have {
					got[key] = string(appendText(nil, w.value))
				}
			}
		}
		var plain map[string]string
		if json.Unmarshal(doc, &plain) != nil || len(plain) != len(got) {
			return
		}
		again, err := json.Marshal(plain)
		if err != nil {
			t.Fatal(err)
		}
		seen := map[string]string{}
		for w := (walker{data: again}); w.next(); {
			seen[string(appendText(nil, w.key))] = string(appendText(nil, w.value))
		}
		if diff := cmp.Diff(plain, seen); diff != "" {
			t.Error(diff)
		}
	})
}
