package cli

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// expand names the files of the arguments: a file, a folder with all that is in
// it in the order of names (hidden files left out), or a pattern.
func expand(args []string) ([]string, error) {
	var out []string
	for _, arg := range args {
		if arg == "-" {
			out = append(out, arg)
			continue
		}
		names := []string{arg}
		if _, err := os.Stat(arg); errors.Is(err, fs.ErrNotExist) {
			if names, err = filepath.Glob(arg); err != nil || len(names) == 0 {
				return nil, fmt.Errorf("send %s: no such file, folder or match of a pattern", arg)
			}
		}
		slices.Sort(names)
		for _, name := range names {
			err := filepath.WalkDir(name, func(path string, d fs.DirEntry, err error) error {
				if err != nil {
					return err
				}
				if path != name && strings.HasPrefix(d.Name(), ".") {
					if d.IsDir() {
						return filepath.SkipDir
					}
					return nil
				}
				info, err := os.Stat(path) // follows links
				if err == nil && (info.Mode().IsRegular() || path == name && !info.IsDir()) {
					out = append(out, path)
				}
				return err
			})
			if err != nil {
				return nil, fmt.Errorf("send: %w", err)
			}
		}
	}
	return out, nil
}

// unpack reads gzip and zstd, which it knows by their first bytes, and
// everything else as it is.
func unpack(r io.Reader) (io.ReadCloser, error) {
	b := bufio.NewReaderSize(r, 128<<10)
	head, err := b.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return gzip.NewReader(b)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		d, err := zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(128<<20))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	return io.NopCloser(b), nil
}

// metered counts what is read of a file for the progress bar.
type metered struct {
	r   io.Reader
	bar *progress
}

// Read counts.
func (m *metered) Read(b []byte) (int, error) {
	n, err := m.r.Read(b)
	m.bar.add(int64(n))
	return n, err
}

// sent is how far a file has been sent.
type sent struct {
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
	Offset   int64     `json:"offset"` // of the unpacked text
	Done     bool      `json:"done,omitempty"`
}

// resume is the file that --resume names: how far each file has been sent. A
// file that has changed since begins anew.
type resume struct {
	path  string
	files map[string]sent
}

func openResume(path string) (*resume, error) {
	r := &resume{path: path, files: map[string]sent{}}
	text, err := os.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &r.files)
	}
	if err != nil {
		return nil, fmt.Errorf("read how far was sent from %s: %w (remove it to begin anew)", path, err)
	}
	return r, nil
}

// at says where to go on in a file.
func (r *resume) at(name string, info os.FileInfo) sent {
	s := r.files[name]
	if s.Size != info.Size() || !s.Modified.Equal(info.ModTime()) {
		return sent{Size: info.Size(), Modified: info.ModTime()}
	}
	return s
}

// note keeps how far a file has been sent; without a path it does nothing.
func (r *resume) note(name string, s sent) error {
	if r.path == "" {
		return nil
	}
	r.files[name] = s
	text, err := json.MarshalIndent(r.files, "", " ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(r.path+".tmp", append(text, '\n'), 0o600); err != nil {
		return fmt.Errorf("keep how far was sent: %w", err)
	}
	return os.Rename(r.path+".tmp", r.path)
}
