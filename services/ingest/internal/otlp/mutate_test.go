package otlp

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"
)

// TestMutated walks damaged requests: no panic, and what the
// official types can still read is read alike.
func TestMutated(t *testing.T) {
	tables := newTables()
	for i, sig := range newSignals(tables) {
		body, err := proto.Marshal(benchSmall(i))
		if err != nil {
			t.Fatal(err)
		}
		for seed := range uint64(80) {
			r := rand.New(rand.NewPCG(seed, 1))
			b := append([]byte(nil), body...)
			for range 1 + r.IntN(8) {
				b[r.IntN(len(b))] = byte(r.Uint32())
			}
			c, s, err := splitAll(sig, tables, b, false)
			m := requests[i]()
			if proto.Unmarshal(b, m) != nil || len(c.bad) > 0 || s.rejected > 0 {
				continue
			}
			if err != nil {
				t.Fatalf("seed %d: refused what is well formed: %v", seed, err)
			}
			compareRecords(t, c.records, expected(t, sig, m))
			if t.Failed() {
				t.Fatalf("%s seed %d", sig.path, seed)
			}
		}
	}
}
