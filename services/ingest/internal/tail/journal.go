package tail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"
	"sync"
)

// entry is how far a file has been read. Between Offset and End is a batch that
// may be stored although nobody knows: it is submitted again exactly as it was,
// under the same key, so that it is stored once.
type entry struct {
	ID     string `json:"id"`   // of the file and its generation: new after truncation
	Path   string `json:"path"` // as it was last seen
	Dev    uint64 `json:"dev"`
	Inode  uint64 `json:"inode"`
	Offset int64  `json:"offset"`
	End    int64  `json:"end,omitempty"`
	Head   []byte `json:"head,omitempty"`  // the first bytes
	Guard  []byte `json:"guard,omitempty"` // the bytes before Offset
	Skip   bool   `json:"skip,omitempty"`  // within a line that is too long
	Header string `json:"header,omitempty"`
	Gone   bool   `json:"gone,omitempty"` // forget it
}

// journal keeps entries on disk: lines with a checksum, the last of an id
// counts. A write returns when it is fsynced; writers share fsyncs.
type journal struct {
	path string

	mu      sync.Mutex
	cond    *sync.Cond
	file    *os.File
	live    map[string]entry
	lines   int // in the file
	pending bytes.Buffer
	queued  int // writes so far
	synced  int // of them on disk
	writing bool
	broken  int   // of them failed to get there
	failed  error // of the last write
}

// openJournal reads the journal of a folder, leaving out a torn last line.
func openJournal(dir string) (*journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep positions of tailed files: %w", err)
	}
	j := &journal{path: filepath.Join(dir, "positions"), live: map[string]entry{}}
	j.cond = sync.NewCond(&j.mu)
	text, err := os.ReadFile(j.path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("read positions of tailed files: %w", err)
	}
	scan := bufio.NewScanner(bytes.NewReader(text))
	scan.Buffer(nil, 1<<20)
	for scan.Scan() {
		if e, ok := parseEntry(scan.Bytes()); ok {
			j.apply(e)
		}
	}
	return j, j.compact()
}

func parseEntry(line []byte) (e entry, ok bool) {
	sum, text, ok := bytes.Cut(line, []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || err != nil || uint32(want) != crc32.ChecksumIEEE(text) || json.Unmarshal(text, &e) != nil {
		return e, false
	}
	return e, e.ID != "" && e.Offset >= 0
}

func (j *journal) apply(e entry) {
	if e.Gone {
		delete(j.live, e.ID)
	} else {
		j.live[e.ID] = e
	}
}

func appendEntry(b *bytes.Buffer, e *entry) error {
	text, err := json.Marshal(e)
	if err != nil {
		return err
	}
	fmt.Fprintf(b, "%08x %s\n", crc32.ChecksumIEEE(text), text)
	return nil
}

// compact writes the live entries to a new file that replaces the old one.
func (j *journal) compact() error {
	var b bytes.Buffer
	for _, e := range j.live {
		if err := appendEntry(&b, &e); err != nil {
			return err
		}
	}
	file, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("keep positions of tailed files: %w", err)
	}
	_, err = file.Write(b.Bytes())
	if err = errors.Join(err, file.Sync()); err == nil {
		err = os.Rename(j.path+".new", j.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep positions of tailed files: %w", err), file.Close())
	}
	if dir, err := os.Open(filepath.Dir(j.path)); err == nil {
		_ = dir.Sync() // not every file system can
		dir.Close()
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.lines = file, len(j.live)
	return nil
}

// write puts entries on disk.
func (j *journal) write(entries ...*entry) error {
	if len(entries) == 0 {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range entries {
		if err := appendEntry(&j.pending, e); err != nil {
			return err
		}
		j.apply(*e)
		j.lines++
	}
	j.queued++
	mine := j.queued
	for j.synced < mine && j.broken < mine {
		if j.writing {
			j.cond.Wait()
			continue
		}
		j.writing = true
		upTo, text, file := j.queued, bytes.Clone(j.pending.Bytes()), j.file
		j.pending.Reset()
		var err error
		if j.failed != nil || j.lines > 2*len(j.live)+4096 {
			err = j.compact() // holds what is pending, too
		} else {
			j.mu.Unlock()
			_, err = file.Write(text)
			err = errors.Join(err, file.Sync())
			j.mu.Lock()
		}
		j.writing, j.failed = false, err
		if err != nil {
			j.broken = upTo // part of a line may be there: the next write compacts
		} else {
			j.synced = upTo
		}
		j.cond.Broadcast()
	}
	if j.synced < mine {
		return fmt.Errorf("keep positions of tailed files: %w", j.failed)
	}
	return nil
}

func (j *journal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}
