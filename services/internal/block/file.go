package block

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// maxFramed bounds a payload in a file, in bytes.
const maxFramed = 256 << 20

// WriteFramed writes a payload to a file of blocks: its length as a varint,
// then its bytes.
func WriteFramed(w io.Writer, payload []byte) error {
	if _, err := w.Write(binary.AppendUvarint(nil, uint64(len(payload)))); err != nil {
		return err
	}
	_, err := w.Write(payload)
	return err
}

// ReadFramed reads the next payload of a file of blocks into buf, which it
// grows if need be. At the end of the file the error is io.EOF; a file that is
// cut short or holds something else is an error that wraps ErrCorrupt.
func ReadFramed(r *bufio.Reader, buf []byte) ([]byte, error) {
	n, err := binary.ReadUvarint(r)
	if errors.Is(err, io.EOF) {
		return nil, io.EOF
	}
	if err != nil || n > maxFramed {
		return nil, fmt.Errorf("read blocks: %w: this is no file of blocks, or it is damaged", ErrCorrupt)
	}
	// A forged length must not make a big buffer: it grows with what is there.
	buf = buf[:0]
	for uint64(len(buf)) < n {
		from := len(buf)
		buf = append(buf, make([]byte, min(n-uint64(from), 1<<20))...)
		if _, err := io.ReadFull(r, buf[from:]); err != nil {
			return nil, fmt.Errorf("read blocks: %w: the file is cut short", ErrCorrupt)
		}
	}
	return buf, nil
}
