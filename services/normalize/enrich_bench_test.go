package normalize

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/enrich"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// What enrichment adds to mapping: 10,000 zones and a list, 500 clients.
func BenchmarkEnriched(b *testing.B) {
	set, err := mapping.Load(sources.FS)
	if err != nil {
		b.Fatal(err)
	}
	raw := block.NewRawBuilder()
	for i := range 1000 {
		raw.Append(block.UID("b", uint32(i)), 1795371702000, fmt.Appendf(nil, `10.%d.%d.1 - - [22/Nov/2026:18:21:42 +0000] "POST /v1/chat/completions HTTP/1.1" 200 1542 "-" "openai-python/1.99.1"`, i*7%39, i%13))
	}
	payload := raw.AppendTo(nil, block.Header{Source: "nginx.access"})
	zones := map[string][]string{}
	for i := range 10_000 {
		zones[fmt.Sprintf("z%d", i%100)] = append(zones[fmt.Sprintf("z%d", i%100)], fmt.Sprintf("10.%d.%d.0/24", i/256, i%256))
	}
	list := filepath.Join(b.TempDir(), "list")
	if err := os.WriteFile(list, []byte(strings.Repeat("203.0.113.7\n", 10)), 0o600); err != nil {
		b.Fatal(err)
	}
	for name, cfg := range map[string]Enrich{"without": {}, "with": {Zones: zones}} {
		b.Run(name, func(b *testing.B) {
			w := newWorker(set)
			if !cfg.Empty() {
				e, err := enrich.New(cfg, DefaultOptions().Logger)
				if err != nil {
					b.Fatal(err)
				}
				w.enrich = enrich.NewWorker(e)
			}
			var out []byte
			for b.Loop() {
				if err := block.DecodeRaw(payload, &w.raw); err != nil {
					b.Fatal(err)
				}
				w.mapAll()
				for _, bb := range w.builders {
					w.enrich.Apply(bb)
					if bb.Rows() > 0 {
						out = bb.AppendTo(out[:0], block.Header{})
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*1000), "ns/event")
		})
	}
}
