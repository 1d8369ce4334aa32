package conformance

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"

	"github.com/vagus-hub/vagus/services/internal/clickhouse"
)

// cancel checks that a client that goes away takes its statement with it.
func (s *suite) cancel(t *testing.T) {
	s.exec(t, "CREATE TABLE can (id UInt32) ENGINE = MergeTree ORDER BY id")
	for name, run := range map[string]func(ctx context.Context) error{
		"select": func(ctx context.Context) error {
			return s.client.Exec(ctx, "SELECT count() FROM numbers(1000000000000) WHERE sipHash64(number, 'cancel-me') = 1")
		},
		"insert select": func(ctx context.Context) error {
			return s.client.Exec(ctx, "INSERT INTO can SELECT number FROM numbers(1000000000000) WHERE sipHash64(number, 'cancel-me') = 1")
		},
		"stream": func(ctx context.Context) error {
			rc, err := s.client.SelectNative(ctx, "SELECT number, 'cancel-me' FROM numbers(1000000000000)", nil)
			if err != nil {
				return err
			}
			defer func() { _ = rc.Close() }()
			_, err = io.Copy(io.Discard, rc)
			return err
		},
		"insert": func(ctx context.Context) error {
			var b bytes.Buffer
			encode(t, &b, 3, proto.InputColumn{Name: "id", Data: proto.ColUInt32{1, 2, 3}})
			return s.client.InsertNative(ctx, clickhouse.Insert{Table: "can", Columns: []string{"id"}}, io.MultiReader(&b, waiting{ctx}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), 700*time.Millisecond)
			defer stop()
			if err := run(ctx); !errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
				t.Errorf("it ended by itself: %v", err)
			}
			deadline := time.Now().Add(20 * time.Second)
			for {
				n := s.text(t, "SELECT count() FROM system.processes WHERE (query LIKE '%cancel-me%' OR query LIKE 'INSERT INTO%can%') AND query NOT LIKE '%system.processes%'")
				if n == "0" {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("%s statements are still running", n)
				}
				time.Sleep(gonePause)
			}
		})
	}
	if got := s.text(t, "SELECT count() FROM can"); got != "0" {
		t.Errorf("cancelled inserts left %s rows", got)
	}
}

// waiting is a source that has nothing to give until its context ends.
type waiting struct{ ctx context.Context }

func (w waiting) Read([]byte) (int, error) {
	<-w.ctx.Done()
	return 0, w.ctx.Err()
}
