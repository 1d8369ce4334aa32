package tail

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	headBytes  = 256 // of Head
	guardBytes = 64  // of Guard
)

// inode names a file over renames, as long as it exists.
type inode struct{ dev, ino uint64 }

func inodeOf(info os.FileInfo) (inode, bool) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return inode{}, false
	}
	return inode{uint64(st.Dev), st.Ino}, true //nolint:unconvert // Dev has other types elsewhere
}

// file is one that is followed.
type file struct {
	entry
	set     *set
	fd      *os.File  // nil: closed while nothing happens
	size    int64     // when it was last looked at
	changed time.Time // when the size was seen to change
	next    time.Time // when to look again
	until   time.Time // it has no name any more: read on until then
	dirty   bool      // Offset is newer than the journal's
	at      string    // its name since it lost Path
	ignored bool      // compressed
}

// name is where the file is now.
func (f *file) name() string {
	if f.at != "" {
		return f.at
	}
	return f.Path
}

func (f *file) inode() inode { return inode{f.Dev, f.Inode} }

// anew begins a new generation: the file was truncated or is another one.
func (f *file) anew() {
	f.entry = entry{ID: rand.Text()[:16], Path: f.Path, Dev: f.Dev, Inode: f.Inode}
}

// open opens the file by the name it was last seen with, if it is still that
// one.
func (f *file) open() error {
	if f.fd != nil {
		return nil
	}
	fd, err := os.Open(f.name())
	if err != nil {
		return err
	}
	info, err := fd.Stat()
	if err == nil {
		if id, ok := inodeOf(info); !ok || id != f.inode() {
			err = errOther
		}
	}
	if err != nil {
		return errors.Join(err, fd.Close())
	}
	f.fd = fd
	return nil
}

var errOther = errors.New("another file has the name now")

func (f *file) close() {
	if f.fd != nil {
		f.fd.Close()
		f.fd = nil
	}
}

// same reports whether the file still has the bytes that were read.
func (f *file) same() bool {
	head, guard := make([]byte, len(f.Head)), make([]byte, len(f.Guard))
	if _, err := f.fd.ReadAt(head, 0); len(head) > 0 && err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	if _, err := f.fd.ReadAt(guard, f.Offset-int64(len(guard))); len(guard) > 0 && err != nil && !errors.Is(err, io.EOF) {
		return false
	}
	return bytes.Equal(head, f.Head) && bytes.Equal(guard, f.Guard)
}

// read fills buf with what is at Offset; changed: the bytes before it are no
// longer those that were read.
func (f *file) read(buf []byte) (data []byte, end, changed bool, err error) {
	before := len(f.Guard)
	n, err := f.fd.ReadAt(buf, f.Offset-int64(before))
	end = errors.Is(err, io.EOF)
	if err != nil && !end {
		return nil, end, false, err
	}
	if n < before || !bytes.Equal(buf[:before], f.Guard) {
		return nil, end, true, nil
	}
	return buf[before:n], end, false, nil
}

// advance moves over what was stored.
func (f *file) advance(data []byte, c *chunk) {
	used := data[:c.used]
	if n := len(f.Head); n < headBytes && int64(n) == f.Offset {
		f.Head = append(bytes.Clone(f.Head), used[:min(len(used), headBytes-n)]...)
	}
	guard := append(bytes.Clone(f.Guard), used[max(0, len(used)-guardBytes):]...)
	f.Guard = guard[max(0, len(guard)-guardBytes):]
	f.Offset += int64(c.used)
	f.End, f.Skip, f.Header, f.dirty = 0, c.skip, c.header, true
}

// seekEnd begins at the last line's start.
func (f *file) seekEnd(size int64) error {
	if err := f.open(); err != nil {
		return err
	}
	buf := make([]byte, min(size, 64<<10))
	n, err := f.fd.ReadAt(buf, size-int64(len(buf)))
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	buf = buf[:n]
	cut := bytes.LastIndexByte(buf, '\n') + 1
	f.Offset = size - int64(len(buf)) + int64(cut)
	f.Skip = cut == 0 && size > 0 // the line began before: it is not read
	f.Guard = bytes.Clone(buf[max(0, cut-guardBytes):cut])
	f.Head = make([]byte, min(f.Offset, headBytes))
	if _, err := f.fd.ReadAt(f.Head, 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	f.dirty = true
	return nil
}

// find looks for the file under another name in its folder.
func (f *file) find() bool {
	real, err := filepath.EvalSymlinks(f.Path)
	if err != nil {
		real = f.Path
	}
	for _, dir := range []string{filepath.Dir(real), filepath.Dir(f.Path)} {
		names, err := os.ReadDir(dir)
		if err != nil {
			continue
		}
		for _, name := range names {
			info, err := name.Info()
			if err != nil || !info.Mode().IsRegular() {
				continue
			}
			if id, ok := inodeOf(info); ok && id == f.inode() {
				f.at = filepath.Join(dir, name.Name())
				return true
			}
		}
	}
	return false
}

// key makes a repeat of a batch count once.
func (f *file) key() string { return fmt.Sprintf("%s:%d", f.ID, f.Offset) }

var magics = [][]byte{{0x1f, 0x8b}, {0x28, 0xb5, 0x2f, 0xfd}, []byte("BZh"), {0xfd, '7', 'z', 'X', 'Z'}, {0x04, 0x22, 0x4d, 0x18}, []byte("PK\x03\x04")}

// packed reports whether the beginning of a file is that of a compressed one.
func packed(head []byte) bool {
	for _, m := range magics {
		if bytes.HasPrefix(head, m) {
			return true
		}
	}
	return false
}
