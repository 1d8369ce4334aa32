package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// feeder cuts files into batches at line ends and sends them.
type feeder struct {
	sender *sender
	size   int
	bar    *progress
	salt   string // makes keys differ from those of an earlier sending
	total  answer
}

func (f *feeder) file(ctx context.Context, name string, stdin io.Reader) error {
	if name == "-" {
		return f.read(ctx, fmt.Sprintf("stdin %d", time.Now().UnixNano()), stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	f.bar.expect(st.Size())
	return f.read(ctx, name, file)
}

// read sends everything up to the end.
func (f *feeder) read(ctx context.Context, name string, r io.Reader) error {
	buf := make([]byte, 0, f.size+64<<10)
	offset := int64(0)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), len(buf)+256<<10)])
		buf = buf[:len(buf)+n]
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		if len(buf) >= f.size || end && len(buf) > 0 {
			cut := bytes.LastIndexByte(buf, '\n') + 1
			if end {
				cut = len(buf)
			}
			if cut > 0 {
				if err := f.batch(ctx, name, name, offset, buf[:cut]); err != nil {
					return err
				}
				offset += int64(cut)
				buf = buf[:copy(buf, buf[cut:])]
			}
		}
		if end {
			return nil
		}
	}
}

// batch sends a batch of the file name, under a key of id, place and content.
func (f *feeder) batch(ctx context.Context, name, id string, offset int64, body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	got, err := f.sender.send(ctx, batchKey(id+f.salt, offset, body), body)
	if err != nil {
		return fmt.Errorf("%s at byte %d: %w", name, offset, err)
	}
	f.total.Accepted += got.Accepted
	f.total.Dead += got.Dead
	f.total.Duplicate += got.Duplicate
	f.bar.add(int64(len(body)))
	return nil
}
