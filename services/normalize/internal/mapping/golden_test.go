package mapping

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/vagus-hub/vagus/schemas/sources"
)

var update = flag.Bool("update", false, "write the goldens")

// TestGoldens maps the recorded samples of every source.
func TestGoldens(t *testing.T) {
	set, err := Load(sources.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range set.Sources() {
		t.Run(id, func(t *testing.T) {
			rep, err := RunSamples(sources.FS, set.Get(id))
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d records, %d events, %d dropped, %d dead, %.1f %% mapped", rep.Records, rep.Events, rep.Dropped, rep.Dead, rep.Share*100)
			if rep.Dead > 0 {
				t.Errorf("%d recorded samples became dead letters", rep.Dead)
			}
			if *update {
				for name, data := range rep.Files {
					path := filepath.Join("..", "..", "..", "..", "schemas", "sources", filepath.FromSlash(name))
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						t.Fatal(err)
					}
					if err := os.WriteFile(path, data, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				return
			}
			if err := Differences(sources.FS, rep); err != nil {
				t.Error(err)
			}
		})
	}
}
