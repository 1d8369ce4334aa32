// Package snapshot keeps versions of a folder of files in the bucket "content":
// rules that are changed at run time, for all instances at once.
//
// A version is a zip archive in pieces, named by its hash, and a manifest. One
// key, "current", holds the manifest in force, so that a switch is one write:
// whoever watches it sees the old version or the new one, whole. Earlier
// manifests stay as the log.
package snapshot

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing/fstest"
	"time"
	"unicode/utf8"
)

// The bounds of a version.
const (
	MaxFiles = 20_000
	MaxFile  = 2 << 20  // bytes
	MaxBytes = 64 << 20 // bytes of all files
	maxPack  = 32 << 20 // bytes of the archive
	maxPath  = 512      // bytes
)

// Manifest says what a version is.
type Manifest struct {
	Revision uint64    `json:"revision"` // 1, 2, …
	Hash     string    `json:"hash"`     // of names and contents, hex SHA-256
	Pack     string    `json:"pack"`     // hex SHA-256 of the archive
	Chunks   int       `json:"chunks"`
	Files    int       `json:"files"`
	Bytes    int       `json:"bytes"` // of the files
	Message  string    `json:"message"`
	Author   string    `json:"author"`
	At       time.Time `json:"at"`
	Of       uint64    `json:"of,omitempty"` // the revision that it brings back
}

// ErrPruned says that a version's files are no longer kept.
var ErrPruned = errors.New("the files of this revision are no longer kept")

// Read returns the files of a folder that keep wants, by slash-separated path.
// Files and folders whose name starts with "." or "_" are left out.
func Read(fsys fs.FS, root string, keep func(name string) bool) (map[string][]byte, error) {
	out := map[string][]byte{}
	total := 0
	err := fs.WalkDir(fsys, root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if base := path.Base(p); p != root && (strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
			if d.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if d.IsDir() || !keep(p) {
			return nil
		}
		// A pipe would keep the reader waiting, a device never ends.
		if info, err := fs.Stat(fsys, p); err != nil {
			return err
		} else if !info.Mode().IsRegular() {
			return fmt.Errorf("%s is no regular file", p)
		} else if info.Size() > MaxFile {
			return check(p, int(info.Size()), 0, 0)
		}
		data, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		name := strings.TrimPrefix(p, root+"/")
		out[name] = data
		total += len(data)
		return check(name, len(data), len(out), total)
	})
	if err != nil {
		return nil, fmt.Errorf("read content: %w", err)
	}
	return out, nil
}

func check(name string, size, files, total int) error {
	switch {
	case !fs.ValidPath(name) || name == "." || len(name) > maxPath || !utf8.ValidString(name):
		return fmt.Errorf("file name %.80q cannot be used", name)
	case size > MaxFile:
		return fmt.Errorf("%s has %d bytes, at most %d are allowed", name, size, MaxFile)
	case files > MaxFiles:
		return fmt.Errorf("more than %d files", MaxFiles)
	case total > MaxBytes:
		return fmt.Errorf("more than %d bytes in all", MaxBytes)
	}
	return nil
}

// Hash is the hash of names and contents, whatever the archive's bytes are.
func Hash(files map[string][]byte) string {
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		sum := sha256.Sum256(files[name])
		fmt.Fprintf(h, "%s\x00%x\n", name, sum)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// pack makes the archive; the same files give the same bytes.
func pack(files map[string][]byte) ([]byte, error) {
	var buf bytes.Buffer
	w := zip.NewWriter(&buf)
	total, n := 0, 0
	for _, name := range slices.Sorted(maps.Keys(files)) {
		n++
		total += len(files[name])
		if err := check(name, len(files[name]), n, total); err != nil {
			return nil, fmt.Errorf("pack content: %w", err)
		}
		f, err := w.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
		if err == nil {
			_, err = f.Write(files[name])
		}
		if err != nil {
			return nil, fmt.Errorf("pack content: %w", err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("pack content: %w", err)
	}
	if buf.Len() > maxPack {
		return nil, fmt.Errorf("pack content: %d bytes packed, at most %d are allowed", buf.Len(), maxPack)
	}
	return buf.Bytes(), nil
}

// unpack reads an archive and holds it to the bounds.
func unpack(data []byte) (map[string][]byte, error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("unpack content: %w", err)
	}
	out := map[string][]byte{}
	total := 0
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("unpack content: %.80q: %w", f.Name, err)
		}
		text, err := io.ReadAll(io.LimitReader(in, MaxFile+1))
		in.Close()
		if err != nil {
			return nil, fmt.Errorf("unpack content: %.80q: %w", f.Name, err)
		}
		if _, twice := out[f.Name]; twice {
			return nil, fmt.Errorf("unpack content: %.80q is there twice", f.Name)
		}
		out[f.Name] = text
		total += len(text)
		if err := check(f.Name, len(text), len(out), total); err != nil {
			return nil, fmt.Errorf("unpack content: %w", err)
		}
	}
	return out, nil
}

// FS is the files as a file system, in memory.
func FS(files map[string][]byte) fs.FS {
	out := fstest.MapFS{} // the only one in memory that the standard library has
	for name, data := range files {
		out[name] = &fstest.MapFile{Data: data, Mode: 0o444}
	}
	return out
}
