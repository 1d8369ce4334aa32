package subjects

import (
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	for name, source := range map[string]string{
		"one token": "nginx", "dotted": "nginx.access", "deep": "a.b.c.d", "marks": "open-telemetry.gen_ai",
	} {
		t.Run(name, func(t *testing.T) {
			if got, ok := ParseRaw(Raw(source)); !ok || got != source {
				t.Errorf("raw: got %q %v", got, ok)
			}
			if got, ok := ParseEvents(Events(source)); !ok || got != source {
				t.Errorf("events: got %q %v", got, ok)
			}
			if got, ok := ParseAlerts(Alerts(source)); !ok || got != source {
				t.Errorf("alerts: got %q %v", got, ok)
			}
			if got, ok := ParseRuns(Runs(source)); !ok || got != source {
				t.Errorf("runs: got %q %v", got, ok)
			}
			if stage, got, ok := ParseDead(Dead("normalize", source)); !ok || got != source || stage != "normalize" {
				t.Errorf("dead: got %q %q %v", stage, got, ok)
			}
		})
	}
	for p := range SignalPartitions {
		if got, ok := ParseSignals(Signals(p)); !ok || got != p {
			t.Errorf("signals %d: got %d %v", p, got, ok)
		}
	}
}

func TestCheckRefuses(t *testing.T) {
	for name, in := range map[string]string{
		"empty": "", "leading dot": ".a", "trailing dot": "a.", "empty token": "a..b", "wildcard": "a.*",
		"tail": "a.>", "space": "a b", "line": "a\nb", "unicode": "é", "long": strings.Repeat("a", MaxName+1),
	} {
		t.Run(name, func(t *testing.T) {
			if Check(in) == nil {
				t.Errorf("Check(%q) passed", in)
			}
			if s := strings.TrimPrefix(Raw(in), "raw."); Check(s) != nil {
				t.Errorf("Raw(%q) = %q is not a safe subject", in, s)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "raw", "raw.", "RAW.a", "events.a", "raw..a", "raw.*"} {
		if got, ok := ParseRaw(s); ok {
			t.Errorf("ParseRaw(%q) = %q", s, got)
		}
	}
	for _, s := range []string{"signals.", "signals.16", "signals.-1", "signals.+1", "signals.01", "signals.a", SignalsSeed(0)} {
		if got, ok := ParseSignals(s); ok {
			t.Errorf("ParseSignals(%q) = %d", s, got)
		}
	}
	if _, _, ok := ParseDead("dead.normalize"); ok {
		t.Error("ParseDead took a subject without a source")
	}
}

func TestStream(t *testing.T) {
	for subject, want := range map[string]string{
		Raw("a.b"): StreamRaw, Events("ai"): StreamEvents, Signals(3): StreamSignals, Alerts("high"): StreamAlerts,
		Runs("p"): StreamRuns, Dead("s", "a.b"): StreamDead, Ledger("s"): StreamLedger, "other.x": "", "raw": "",
	} {
		if got := Stream(subject); got != want {
			t.Errorf("Stream(%q) = %q, want %q", subject, got, want)
		}
	}
}

func FuzzSubjects(f *testing.F) {
	for _, s := range []string{"", "nginx.access", "a..b", "*", ">", "\x00", "é.ü"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		got, ok := ParseRaw(Raw(name))
		if !ok {
			t.Fatalf("Raw(%q) = %q does not parse", name, Raw(name))
		}
		if Check(name) == nil && got != name {
			t.Fatalf("%q came back as %q", name, got)
		}
		ParseDead(name)
		ParseSignals(name)
		Stream(name)
	})
}
