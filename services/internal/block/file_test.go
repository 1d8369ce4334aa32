package block

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"testing"
)

func TestFramed(t *testing.T) {
	var file bytes.Buffer
	want := [][]byte{[]byte("one"), nil, bytes.Repeat([]byte("x"), 3<<20)}
	for _, p := range want {
		if err := WriteFramed(&file, p); err != nil {
			t.Fatal(err)
		}
	}
	whole := file.Bytes()
	r := bufio.NewReader(bytes.NewReader(whole))
	for i, p := range want {
		got, err := ReadFramed(r, nil)
		if err != nil || !bytes.Equal(got, p) {
			t.Fatalf("payload %d: %d bytes, %v", i, len(got), err)
		}
	}
	if _, err := ReadFramed(r, nil); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
	for name, data := range map[string][]byte{"cut": whole[:3], "forged length": {0xff, 0xff, 0xff, 0xff, 0xff, 0x01}, "long": {0xff, 0xff, 0xff, 0x3f, 1}} {
		if _, err := ReadFramed(bufio.NewReader(bytes.NewReader(data)), nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
