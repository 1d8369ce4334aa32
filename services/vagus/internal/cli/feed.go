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
	follow bool
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
	defer func() { file.Close() }()
	st, err := file.Stat()
	if err != nil {
		return err
	}
	f.bar.expect(st.Size())
	if err := f.read(ctx, name, file); err != nil || !f.follow {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
		if err := f.read(ctx, name, file); err != nil {
			return err
		}
		now, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			continue // being rotated
		}
		if err != nil {
			return err
		}
		old, err := file.Stat()
		if err != nil {
			return err
		}
		at, err := file.Seek(0, io.SeekCurrent)
		if err != nil {
			return err
		}
		switch {
		case !os.SameFile(now, old):
			next, err := os.Open(name)
			if err != nil {
				return err
			}
			file.Close()
			file = next
		case now.Size() < at: // truncated
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				return err
			}
		}
	}
}

// read sends everything up to the end. When following, an unfinished last line
// is left for the next time.
func (f *feeder) read(ctx context.Context, name string, r io.Reader) error {
	buf := make([]byte, 0, f.size+64<<10)
	offset := int64(0)
	if s, ok := r.(io.Seeker); ok {
		if at, err := s.Seek(0, io.SeekCurrent); err == nil {
			offset = at
		}
	}
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
			if end && !f.follow {
				cut = len(buf)
			}
			if cut > 0 {
				if err := f.batch(ctx, name, offset, buf[:cut]); err != nil {
					return err
				}
				offset += int64(cut)
				buf = buf[:copy(buf, buf[cut:])]
			}
		}
		if end {
			if s, ok := r.(io.Seeker); ok && len(buf) > 0 {
				_, err := s.Seek(-int64(len(buf)), io.SeekCurrent)
				return err
			}
			return nil
		}
	}
}

func (f *feeder) batch(ctx context.Context, name string, offset int64, body []byte) error {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil
	}
	got, err := f.sender.send(ctx, batchKey(name+f.salt, offset, body), body)
	if err != nil {
		return fmt.Errorf("%s at byte %d: %w", name, offset, err)
	}
	f.total.Accepted += got.Accepted
	f.total.Dead += got.Dead
	f.total.Duplicate += got.Duplicate
	f.bar.add(int64(len(body)))
	return nil
}
