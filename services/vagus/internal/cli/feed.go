package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// feeder cuts files into batches at line ends and sends them.
type feeder struct {
	sender *sender
	size   int
	bar    *progress
	salt   string // makes keys differ from those of an earlier sending
	rate   int    // records a second at most; 0: as fast as they are taken
	resume *resume
	total  answer
	bytes  int64 // of text that was sent
	begin  time.Time
	files  int
	// repeated are those of the records that were there already.
	repeated int
}

// file sends one file, unpacked, from where an earlier sending ended.
func (f *feeder) file(ctx context.Context, name string, stdin io.Reader) error {
	if name == "-" {
		r, err := unpack(&metered{stdin, f.bar})
		if err != nil {
			return err
		}
		defer r.Close()
		return f.read(ctx, fmt.Sprintf("stdin %d", time.Now().UnixNano()), 0, r, nil)
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
	path, err := filepath.Abs(name)
	if err != nil {
		return err
	}
	at := f.resume.at(path, st)
	if at.Done {
		f.bar.add(st.Size())
		return nil
	}
	r, err := unpack(&metered{file, f.bar})
	if err != nil {
		return fmt.Errorf("unpack %s: %w", name, err)
	}
	defer r.Close()
	if _, err := io.CopyN(io.Discard, r, at.Offset); err != nil {
		return fmt.Errorf("go on in %s at byte %d: %w", name, at.Offset, err)
	}
	err = f.read(ctx, path, at.Offset, r, func(offset int64) error {
		at.Offset = offset
		return f.resume.note(path, at)
	})
	if err != nil {
		return err
	}
	f.files++
	at.Done = true
	return f.resume.note(path, at)
}

// read sends everything up to the end, and calls stored after each batch. How
// batches are cut depends on their place alone, so that one that is sent again
// is the same.
func (f *feeder) read(ctx context.Context, name string, offset int64, r io.Reader, stored func(offset int64) error) error {
	buf := make([]byte, 0, f.size+64<<10)
	for end := false; !end; {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := r.Read(buf[len(buf):min(cap(buf), len(buf)+256<<10)])
		buf = buf[:len(buf)+n]
		end = errors.Is(err, io.EOF)
		if err != nil && !end {
			return fmt.Errorf("read %s: %w", name, err)
		}
		for len(buf) >= f.size || end && len(buf) > 0 {
			cut := f.cut(buf, end)
			if cut == 0 {
				break
			}
			if err := f.batch(ctx, name, name, offset, buf[:cut]); err != nil {
				return err
			}
			offset += int64(cut)
			buf = buf[:copy(buf, buf[cut:])]
			if stored != nil {
				if err := stored(offset); err != nil {
					return err
				}
			}
			if err := f.pace(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// cut is the length of the next batch: whole lines of at most size bytes, or
// one longer line; 0: more bytes are needed.
func (f *feeder) cut(buf []byte, end bool) int {
	part := buf[:min(len(buf), f.size)]
	if f.rate > 0 { // five batches a second are even enough
		pos := 0
		for range max(f.rate/5, 1) {
			i := bytes.IndexByte(part[pos:], '\n')
			if i < 0 {
				break
			}
			pos += i + 1
		}
		if pos > 0 {
			return pos
		}
	}
	if end && len(buf) <= f.size {
		return len(buf)
	}
	if i := bytes.LastIndexByte(part, '\n'); i >= 0 {
		return i + 1
	}
	if i := bytes.IndexByte(buf, '\n'); i >= 0 {
		return i + 1
	}
	if end || len(buf) >= maxLine {
		return min(len(buf), maxLine)
	}
	return 0
}

// pace waits so that no more than rate records a second are sent.
func (f *feeder) pace(ctx context.Context) error {
	if f.rate <= 0 {
		return nil
	}
	due := f.begin.Add(time.Duration(float64(f.total.Accepted+f.total.Dead) / float64(f.rate) * float64(time.Second)))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Until(due)):
		return nil
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
	if got.Duplicate {
		f.repeated += got.Accepted + got.Dead
	}
	f.bytes += int64(len(body))
	f.bar.records(got.Accepted + got.Dead)
	return nil
}
