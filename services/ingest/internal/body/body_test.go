package body

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

func gz(b []byte) []byte {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write(b)
	_ = w.Close()
	return out.Bytes()
}

func zs(b []byte) []byte {
	w, _ := zstd.NewWriter(nil)
	return w.EncodeAll(b, nil)
}

func TestRead(t *testing.T) {
	text := []byte(strings.Repeat("line of text\n", 1000))
	bomb := make([]byte, 8<<20)
	lim := Limits{Wire: 1 << 20, Size: 6 << 20, Ratio: 100}
	for name, tc := range map[string]struct {
		body     []byte
		encoding string
		want     []byte
		err      error
	}{
		"plain":            {text, "", text, nil},
		"identity":         {text, "identity", text, nil},
		"empty":            {nil, "", nil, nil},
		"empty, said gzip": {nil, "gzip", nil, nil},
		"one byte":         {[]byte("x"), "", []byte("x"), nil},
		"gzip":             {gz(text), "gzip", text, nil},
		"gzip, unsaid":     {gz(text), "", text, nil},
		"zstd":             {zs(text), "zstd", text, nil},
		"zstd, unsaid":     {zs(text), "", text, nil},
		"two gzip members": {append(gz(text), gz(text)...), "gzip", append(append([]byte{}, text...), text...), nil},
		"not gzip":         {text, "gzip", nil, ErrCorrupt},
		"wrong encoding":   {text, "br", nil, ErrEncoding},
		"cut gzip":         {gz(text)[:60], "gzip", nil, ErrCorrupt},
		"cut zstd":         {zs(text)[:20], "zstd", nil, ErrCorrupt},
		"damaged gzip":     {append(append([]byte{}, gz(text)[:20]...), 'x', 'y'), "gzip", nil, ErrCorrupt},
		"gzip bomb":        {gz(bomb), "gzip", nil, ErrTooLarge},
		"zstd bomb":        {zs(bomb), "zstd", nil, ErrTooLarge},
		"too many bytes":   {bytes.Repeat([]byte("x"), 2<<20), "", nil, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			var p Pool
			for range 2 { // the second time with used decoders
				r := p.Get()
				got, err := r.Read(nil, bytes.NewReader(tc.body), tc.encoding, int64(len(tc.body)), lim, func(int) error { return nil })
				p.Put(r)
				if !errors.Is(err, tc.err) || (tc.err == nil) != (err == nil) {
					t.Fatalf("error %v, want %v", err, tc.err)
				}
				if err == nil && !bytes.Equal(got, tc.want) {
					t.Fatalf("%d bytes, want %d", len(got), len(tc.want))
				}
			}
		})
	}
}

func TestGrowRefused(t *testing.T) {
	refused := errors.New("no memory")
	asked := 0
	_, err := new(Reader).Read(nil, io.LimitReader(zero{}, 4<<20), "", 0, Limits{Wire: 8 << 20, Size: 8 << 20, Ratio: 10}, func(n int) error {
		if asked += n; asked > 1<<20 {
			return refused
		}
		return nil
	})
	if !errors.Is(err, refused) {
		t.Fatal(err)
	}
}

type zero struct{}

func (zero) Read(p []byte) (int, error) { return len(p), nil }

func FuzzRead(f *testing.F) {
	f.Add(gz([]byte("a")), "gzip")
	f.Add(zs([]byte("a")), "")
	f.Add([]byte("x"), "br")
	f.Fuzz(func(t *testing.T, b []byte, enc string) {
		got, err := new(Reader).Read(nil, bytes.NewReader(b), enc, 0, Limits{Wire: 1 << 16, Size: 1 << 16, Ratio: 50}, func(int) error { return nil })
		if err == nil && len(got) > 1<<16 {
			t.Fatalf("%d bytes", len(got))
		}
	})
}
