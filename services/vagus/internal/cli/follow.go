package cli

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

// drain is how long a rotated file is read on: programs write to it until they
// have opened the new one.
const drain = 15 * time.Second

// maxLine bounds the memory for a line without an end, in bytes.
const maxLine = 16 << 20

// position is how far a file has been sent. Between Offset and End is a batch
// that may have been stored although nobody knows: it is sent again exactly as
// it was, so that it is stored once.
type position struct {
	ID     string `json:"id"`   // device and inode
	Head   string `json:"head"` // hash of the first bytes before Offset: inodes are used again
	Offset int64  `json:"offset"`
	End    int64  `json:"end,omitempty"`
}

// tailed is an open file that is followed.
type tailed struct {
	file  *os.File
	pos   position
	until time.Time // zero: not rotated
}

// follower sends a file as it grows, over rotations and restarts of its own.
type follower struct {
	feeder *feeder
	name   string
	state  string // file of the positions
	open   []*tailed
	buf    []byte
}

// stateFile is where the position in a log is kept, by what it is sent as and
// where to.
func (a *app) stateFile(source, url, name string) (string, error) {
	path, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(a.data, "send")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", fmt.Errorf("keep the position in %s: %w", name, err)
	}
	sum := sha256.Sum256([]byte(source + "\x00" + url + "\x00" + path))
	return filepath.Join(dir, hex.EncodeToString(sum[:16])+".json"), nil
}

// run follows until ctx ends.
func (f *follower) run(ctx context.Context) error {
	defer func() {
		for _, t := range f.open {
			t.file.Close()
		}
	}()
	f.buf = make([]byte, max(f.feeder.size, 4<<10))
	if _, err := os.Stat(f.name); errors.Is(err, os.ErrNotExist) {
		f.feeder.bar.note("waiting for " + f.name)
	}
	if err := f.resume(ctx); err != nil {
		return stopped(ctx, err)
	}
	for {
		if err := f.round(ctx); err != nil {
			return stopped(ctx, err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stopped forgets an error that is only the end that was asked for.
func stopped(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// resume opens what was being followed when an earlier process ended: the file
// itself, or what it was renamed to since.
func (f *follower) resume(ctx context.Context) error {
	text, err := os.ReadFile(f.state)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var known []position
	if err := json.Unmarshal(text, &known); err != nil {
		return fmt.Errorf("read the position %s: %w (remove it to begin anew)", f.state, err)
	}
	names, err := filepath.Glob(globQuote(f.name) + "*")
	if err != nil {
		return err
	}
	for _, p := range known {
		for _, name := range names {
			t, err := openAt(name, p)
			if err != nil || t == nil {
				continue // gone, unreadable, or another file
			}
			if name != f.name {
				t.until = time.Now().Add(drain)
			}
			f.open = append(f.open, t)
			break
		}
	}
	for _, t := range f.open {
		if t.pos.End > t.pos.Offset {
			if err := f.again(ctx, t); err != nil {
				return err
			}
		}
	}
	return nil
}

// openAt opens a file if it is the one of the position; nil: it is not.
func openAt(name string, p position) (*tailed, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && fileID(info) == p.ID && info.Size() >= p.End && info.Size() >= p.Offset {
		if head, err := headOf(file, p.Offset); err == nil && head == p.Head {
			return &tailed{file: file, pos: p}, nil
		}
	}
	return nil, errors.Join(err, file.Close())
}

// again repeats the batch that was on its way.
func (f *follower) again(ctx context.Context, t *tailed) error {
	body := make([]byte, t.pos.End-t.pos.Offset)
	if _, err := io.ReadFull(io.NewSectionReader(t.file, t.pos.Offset, int64(len(body))), body); err != nil {
		return err
	}
	return f.batch(ctx, t, body)
}

// round notices rotation and sends what is new.
func (f *follower) round(ctx context.Context) error {
	if err := f.rotate(); err != nil {
		return err
	}
	for _, t := range slices.Clone(f.open) {
		done := !t.until.IsZero() && time.Now().After(t.until)
		if err := f.read(ctx, t, done); err != nil {
			return err
		}
		if done {
			t.file.Close()
			f.open = slices.DeleteFunc(f.open, func(o *tailed) bool { return o == t })
			if err := f.save(); err != nil {
				return err
			}
		}
	}
	return nil
}

// rotate opens the file of the name if that is a new one, and begins again
// with one that was cut.
func (f *follower) rotate() error {
	info, err := os.Stat(f.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // not made yet, or between two
	}
	if err != nil {
		return err
	}
	id := fileID(info)
	for _, t := range f.open {
		if t.pos.ID == id && t.until.IsZero() {
			if info.Size() < t.pos.Offset {
				t.pos = position{ID: id}
			}
			return nil
		}
	}
	file, err := os.Open(f.name)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info, err = file.Stat(); err != nil {
		file.Close()
		return err
	}
	for _, t := range f.open {
		if t.until.IsZero() {
			t.until = time.Now().Add(drain)
		}
	}
	f.open = append(f.open, &tailed{file: file, pos: position{ID: fileID(info)}})
	return nil
}

// read sends whole lines up to the end; last: also a line without an end.
func (f *follower) read(ctx context.Context, t *tailed, last bool) error {
	for {
		n, err := t.file.ReadAt(f.buf, t.pos.Offset)
		end := errors.Is(err, io.EOF)
		if err != nil && !end {
			return err
		}
		cut := bytes.LastIndexByte(f.buf[:n], '\n') + 1
		switch {
		case cut == 0 && end && !last || n == 0:
			return nil
		case cut == 0 && !end && len(f.buf) >= maxLine:
			cut = n // no record that ingest would take
		case cut == 0 && !end: // a line longer than the buffer
			f.buf = append(f.buf, make([]byte, len(f.buf))...)
			continue
		case last && end:
			cut = n
		}
		if err := f.batch(ctx, t, f.buf[:cut]); err != nil {
			return err
		}
	}
}

// batch notes what is on its way, sends it, and notes that it has arrived.
func (f *follower) batch(ctx context.Context, t *tailed, body []byte) error {
	offset := t.pos.Offset
	head, err := headOf(t.file, offset)
	if err != nil {
		return err
	}
	t.pos.Head, t.pos.End = head, offset+int64(len(body))
	if err := f.save(); err != nil {
		return err
	}
	if err := f.feeder.batch(ctx, f.name, t.pos.ID, offset, body); err != nil {
		return err
	}
	f.feeder.bar.add(int64(len(body)))
	t.pos.Offset, t.pos.End = t.pos.End, 0
	if t.pos.Head, err = headOf(t.file, t.pos.Offset); err != nil {
		return err
	}
	return f.save()
}

// save replaces the file of the positions whole.
func (f *follower) save() error {
	all := []position{}
	for _, t := range f.open {
		all = append(all, t.pos)
	}
	text, err := json.Marshal(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(f.state+".tmp", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep the position in %s: %w", f.name, err)
	}
	return os.Rename(f.state+".tmp", f.state)
}

// headOf is a hash of a file's first bytes, of those before offset.
func headOf(file *os.File, offset int64) (string, error) {
	head := make([]byte, min(offset, 1024))
	if _, err := file.ReadAt(head, 0); err != nil && !errors.Is(err, io.EOF) {
		return "", err
	}
	sum := sha256.Sum256(head)
	return hex.EncodeToString(sum[:8]), nil
}

// fileID names a file over renames.
func fileID(info os.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprintf("%d:%d", st.Dev, st.Ino)
	}
	return info.Name()
}

// globQuote takes the meaning from a pattern's characters.
func globQuote(name string) string {
	var b bytes.Buffer
	for _, r := range name {
		if bytes.ContainsRune([]byte(`*?[\`), r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
