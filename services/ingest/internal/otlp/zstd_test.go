package otlp

import (
	"io"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	logscol "go.opentelemetry.io/proto/otlp/collector/logs/v1"
)

// zstdCompressor packs what a client sends, for one connection only.
type zstdCompressor struct{}

func (zstdCompressor) Type() string { return "zstd" }

func (zstdCompressor) Do(w io.Writer, p []byte) error {
	z, err := zstd.NewWriter(w, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return err
	}
	if _, err := z.Write(p); err != nil {
		return err
	}
	return z.Close()
}

// TestGRPCZstd sends packed requests: one that fits, one that is too large only
// when it is unpacked.
func TestGRPCZstd(t *testing.T) {
	for name, tc := range map[string]struct {
		size    int
		code    codes.Code
		records int
	}{"fits": {10, codes.OK, 1}, "bomb": {5 << 20, codes.ResourceExhausted, 0}} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			//lint:ignore SA1019 the other way registers for the whole process
			zstd := grpc.WithCompressor(zstdCompressor{})
			conn := client(t, start(t, h, func(c *Config) { c.MaxMessage = 1 << 20 }), zstd)
			_, err := logscol.NewLogsServiceClient(conn).Export(withToken(t, "secret"), logsOf(1, string(make([]byte, tc.size))))
			if status.Code(err) != tc.code {
				t.Errorf("%v, want %v", err, tc.code)
			}
			if _, records := h.take(); len(records) != tc.records {
				t.Errorf("%d records", len(records))
			}
		})
	}
}
