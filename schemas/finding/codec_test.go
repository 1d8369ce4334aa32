package finding

import (
	"encoding/json"
	"reflect"
	"testing"
)

func entries() []Signal {
	uid := EventUID{1, 2, 15: 9}
	return []Signal{
		{},
		{
			Rule: "ai-gateway.prompt-injection", Version: "ab12", Step: 3, EventUID: uid, Time: 1_700_000_000_123, Received: 1_700_000_000_456,
			Source: "litellm.proxy", Family: "ai", GroupKey: "a\x1fb", Value: "v", Number: -12.5, More: 7, MoreUntil: 1_700_000_000_999, Retracted: true,
			Fields: []Pair{{"actor.user.name", "a"}, {"x", ""}}, Traceback: "00-ab-cd-01",
		},
		{Rule: "r", Value: "quote \" nul \x00 \xff", Fields: []Pair{{"\n", "\x7f"}}},
		{Rule: "r", Fields: []Pair{{"other", "1"}}},
		{Rule: "r", Fields: []Pair{{"\n", "2"}}, Traceback: "t"},
		{Rule: "s", Traceback: "t"},
	}
}

func written(t testing.TB) []byte {
	t.Helper()
	signals := entries()
	var w SignalWriter
	for i := range signals {
		w.Signal(&signals[i])
	}
	if n := w.Len(); n != len(w.buf) || n == 0 {
		t.Fatalf("length %d", n)
	}
	return w.Take()
}

func read(data []byte) ([]Signal, error) {
	var r SignalReader
	var signals []Signal
	err := r.Read(data, func(s *Signal) {
		c := *s
		c.Fields = append([]Pair(nil), s.Fields...)
		signals = append(signals, c)
	})
	return signals, err
}

func TestSignalsRoundTrip(t *testing.T) {
	wantSignals := entries()
	data := written(t)
	signals, err := read(data)
	if err != nil {
		t.Fatal(err)
	}
	for i := range wantSignals {
		if !reflect.DeepEqual(wantSignals[i], signals[i]) {
			t.Errorf("signal %d\nwant %+v\ngot  %+v", i, wantSignals[i], signals[i])
		}
	}
	if len(signals) != len(wantSignals) {
		t.Errorf("%d signals", len(signals))
	}
	if string(written(t)) != string(data) {
		t.Error("the same entries gave other bytes")
	}
}

func TestADamagedMessageIsReadAsFarAsItIsSound(t *testing.T) {
	data := written(t)
	all, _ := read(data)
	for n := range data {
		signals, err := read(data[:n])
		if len(signals) > len(all) || n < 2 && err == nil {
			t.Fatalf("%d bytes gave %d signals, %v", n, len(signals), err)
		}
	}
	if _, err := read([]byte(`{"rule":"a"}`)); err == nil {
		t.Error("JSON was taken for signals")
	}
}

func TestEventUID(t *testing.T) {
	const text = "01234567-89ab-cdef-0123-456789abcdef"
	u, ok := ParseEventUID(text)
	if !ok || u.String() != text {
		t.Errorf("%v %s", ok, u)
	}
	if short, ok := ParseEventUID("0123456789abcdef0123456789abcdef"); !ok || short != u {
		t.Error("without hyphens it is another")
	}
	for _, bad := range []string{"", "0123", text + "0", "z1234567-89ab-cdef-0123-456789abcdef"} {
		if _, ok := ParseEventUID(bad); ok {
			t.Errorf("%q is taken for a uid", bad)
		}
	}
	if b, err := json.Marshal(Signal{EventUID: u}); err != nil || !reflect.DeepEqual(b[:len(`{"rule":"","version":"","event_uid":"0123`)], []byte(`{"rule":"","version":"","event_uid":"0123`)) {
		t.Errorf("%s %v", b, err)
	}
}

func FuzzReadSignals(f *testing.F) {
	f.Add(written(f))
	f.Add([]byte{signalsMagic, signalsVersion, entrySignal, 0})
	f.Add([]byte{signalsMagic, signalsVersion, entryShape, 0, 0, 0, 0, 0, 255, 255, 255, 3})
	f.Fuzz(func(t *testing.T, data []byte) {
		signals, err := read(data)
		if err != nil {
			return
		}
		var w SignalWriter
		for i := range signals {
			w.Signal(&signals[i])
		}
		if len(signals) == 0 {
			return
		}
		again, err := read(w.Take())
		if err != nil || len(again) != len(signals) {
			t.Fatalf("%d signals became %d: %v", len(signals), len(again), err)
		}
	})
}

func BenchmarkSignals(b *testing.B) {
	signals := entries()
	s := &signals[1]
	var w SignalWriter
	for range 1000 {
		w.Signal(s)
	}
	data := w.Take()
	b.Run("write", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if w.Signal(s); w.Len() > 500_000 {
				w.Take()
			}
		}
	})
	b.Run("read", func(b *testing.B) {
		var r SignalReader
		b.ReportAllocs()
		for i := 0; i < b.N; i += 1000 {
			if err := r.Read(data, func(*Signal) {}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
