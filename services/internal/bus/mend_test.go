package bus

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A server that was killed between the configuration of a stream and its
// checksum has the stream afterwards, with the places of its readers.
func TestStreamsWithoutTheirChecksum(t *testing.T) {
	for name, breakIt := range map[string]func(t *testing.T, dir string){
		"an old checksum": func(t *testing.T, dir string) {
			meta, err := os.ReadFile(filepath.Join(dir, streamMeta))
			if err != nil {
				t.Fatal(err)
			}
			changed := bytes.Replace(meta, []byte("records as received"), []byte("records as they came"), 1)
			if bytes.Equal(changed, meta) {
				t.Fatalf("nothing to change in %s", meta)
			}
			if err := os.WriteFile(filepath.Join(dir, streamMeta), changed, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"none yet": func(t *testing.T, dir string) {
			if err := os.Remove(filepath.Join(dir, streamMetaSum)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			opts := ServerOptions{StoreDir: t.TempDir(), MaxStore: 4 << 30}
			created := func(b *Bus) time.Time {
				t.Helper()
				st, err := b.js.Stream(t.Context(), "RAW")
				if err != nil {
					t.Fatal(err)
				}
				return st.CachedInfo().Created
			}
			s, err := StartServer(opts)
			if err != nil {
				t.Fatal(err)
			}
			b := connect(t, Options{Server: s})
			if err := b.EnsureStreams(t.Context(), Limits{}); err != nil {
				t.Fatal(err)
			}
			put(t, b, "raw.a", "1", nil)
			stop := consume(t, b, Consumer{Stream: "RAW", Durable: "n"}, func(context.Context, *Delivery) Verdict { return Done() })
			drained(t, b, "n")
			stop()
			was := created(b)
			b.Close()
			s.Shutdown()

			dirs, err := filepath.Glob(filepath.Join(opts.StoreDir, "jetstream", "*", "streams", "RAW"))
			if err != nil || len(dirs) != 1 {
				t.Fatal(dirs, err)
			}
			breakIt(t, dirs[0])
			if s, err = StartServer(opts); err != nil {
				t.Fatal(err)
			}
			defer s.Shutdown()
			b = connect(t, Options{Server: s})
			if now := created(b); !now.Equal(was) {
				t.Errorf("the stream is of %s, and was of %s", now, was)
			}
			if l := lag(t, b, "n"); l.AckFloor != 1 || l.Pending != 0 {
				t.Errorf("its reader is at %+v", l)
			}
		})
	}
}

// What is no configuration of the stream is left to the server.
func TestChecksumsThatAreNotMended(t *testing.T) {
	for name, meta := range map[string]string{
		"nothing": "", "cut short": `{"name":"RAW","subj`, "another stream": `{"name":"EVENTS"}`, "no object": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, streamMeta), []byte(meta), 0o600); err != nil {
				t.Fatal(err)
			}
			if mended, err := mendChecksum(dir, "RAW"); mended || err != nil {
				t.Errorf("mended %v, %v", mended, err)
			}
		})
	}
}
