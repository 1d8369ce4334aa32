package detect

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/finding"
)

var signals = map[string]finding.Signal{
	"empty": {},
	"full": {
		Rule: "prompt-injection", Version: "ab12", EventUID: "0190", Time: 1_700_000_000_123, Received: -1, Source: "litellm.proxy", Family: "ai",
		GroupKey: "a\x1fb", Group: []finding.Pair{{Path: "actor.user.name", Value: "a"}, {Path: "x", Value: ""}}, Value: "v", Number: 12.5,
		Fields: map[string]string{"b": "2", "a": "1"}, Traceback: "00-ab-cd-01",
	},
	"hostile": {Rule: "r", Value: "quote \" back \\ nul \x00 new\nline \u2028 é 日本 \U0001F600 <script>", Fields: map[string]string{"\"\n": "\x7f"}},
}

// TestSignalsAreJSON compares with encoding/json, both ways.
func TestSignalsAreJSON(t *testing.T) {
	for name, want := range signals {
		t.Run(name, func(t *testing.T) {
			data := appendSignal(nil, &want)
			var std finding.Signal
			if err := json.Unmarshal(data, &std); err != nil {
				t.Fatalf("%v in %s", err, data)
			}
			if diff := cmp.Diff(want, std); diff != "" {
				t.Errorf("written, then read by encoding/json (-want +got):\n%s", diff)
			}
			theirs, err := json.Marshal(want)
			if err != nil {
				t.Fatal(err)
			}
			var r signalReader
			got, err := r.read(append(append(theirs, '\n'), data...))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]finding.Signal{want, want}, got); diff != "" {
				t.Errorf("written by encoding/json, then read (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSignalsBeforeADamagedLineAreRead(t *testing.T) {
	var r signalReader
	got, err := r.read([]byte(`{"rule":"a"}` + "\n" + `{"rule":`))
	if err == nil || len(got) != 1 || got[0].Rule != "a" {
		t.Errorf("%v, %v", got, err)
	}
}

func FuzzSignals(f *testing.F) {
	for _, s := range signals {
		f.Add(appendSignal(nil, &s))
	}
	f.Add([]byte("[]\n{\"fields\":{\"a\":1},\"group\":[1]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r signalReader
		list, _ := r.read(data)
		for i := range list {
			if text := appendSignal(nil, &list[i]); !json.Valid(text) {
				t.Fatalf("%q is not JSON", text)
			}
		}
	})
}

func BenchmarkSignals(b *testing.B) {
	s := signals["full"]
	var data []byte
	b.Run("write", func(b *testing.B) {
		for b.Loop() {
			data = appendSignal(data[:0], &s)
		}
	})
	b.Run("read", func(b *testing.B) {
		var r signalReader
		for b.Loop() {
			if _, err := r.read(data); err != nil {
				b.Fatal(err)
			}
		}
	})
}
