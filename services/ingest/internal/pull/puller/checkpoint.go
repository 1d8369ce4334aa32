package puller

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strconv"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

var errDisk = errors.New("keep the checkpoint")

// Disk writes files whole: after a crash there is the old one or the new one.
// Tests put their own in place.
type Disk interface {
	Read(path string) ([]byte, error)
	Write(path string, data []byte) error // returns when it is on disk
}

// OSDisk is the file system.
type OSDisk struct{}

// Read reads a file.
func (OSDisk) Read(path string) ([]byte, error) { return os.ReadFile(path) }

// Write replaces a file and syncs it and its folder.
func (OSDisk) Write(path string, data []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Sync())
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path+".new", path); err != nil {
		return err
	}
	if dir, err := os.Open(filepath.Dir(path)); err == nil {
		_ = dir.Sync() // not every file system can
		dir.Close()
	}
	return nil
}

// checkpoint is how far a feed has come.
type checkpoint struct {
	Seq   uint64          `json:"seq"` // counts writes
	Kind  string          `json:"kind"`
	State json.RawMessage `json:"state,omitempty"`
}

// plan is a batch that may be stored although nobody knows, and the state
// after it.
type plan struct {
	Seq      uint64          `json:"seq"` // of the checkpoint that follows
	Key      string          `json:"key"`
	Source   string          `json:"source"`
	Remote   string          `json:"remote,omitempty"`
	Envelope string          `json:"envelope,omitempty"`
	Frames   frame.Frames    `json:"frames"`
	State    json.RawMessage `json:"state"`
	body     []byte
}

// keeper keeps checkpoint and plan of one feed in a folder: lines of a
// checksum and JSON; behind the plan's, the bytes of its batch.
type keeper struct {
	disk     Disk
	at, next string // paths
	checkpoint
}

// open reads the checkpoint of name; pending is the batch that was on its way
// when an earlier run ended, or nil.
func open(disk Disk, dir, name, kind string) (k *keeper, pending *plan, err error) {
	k = &keeper{disk: disk, at: filepath.Join(dir, name+".checkpoint"), next: filepath.Join(dir, name+".batch")}
	head, _, err := read(disk, k.at)
	switch {
	case errors.Is(err, os.ErrNotExist):
		k.checkpoint.Kind = kind
	case err != nil:
		return nil, nil, err
	default:
		if err := json.Unmarshal(head, &k.checkpoint); err != nil {
			return nil, nil, fmt.Errorf("read checkpoint %s: %w", k.at, err)
		}
	}
	if k.checkpoint.Kind != kind {
		return nil, nil, fmt.Errorf("checkpoint %s is of kind %s, not %s (give the source another name, or remove the file)", k.at, k.checkpoint.Kind, kind)
	}
	head, body, err := read(disk, k.next)
	if errors.Is(err, os.ErrNotExist) {
		return k, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	p := &plan{body: body}
	if err := json.Unmarshal(head, p); err != nil {
		return nil, nil, fmt.Errorf("read batch %s: %w", k.next, err)
	}
	if p.Seq != k.Seq+1 { // its checkpoint is there
		return k, nil, nil
	}
	for _, s := range p.Frames.Records {
		if s.End < s.Off || int(s.End) > len(body) {
			return nil, nil, fmt.Errorf("read batch %s: damaged", k.next)
		}
	}
	return k, p, nil
}

// read cuts a file into its head and what is behind.
func read(disk Disk, path string) (head, body []byte, err error) {
	data, err := disk.Read(path)
	if err != nil {
		return nil, nil, err
	}
	sum, rest, ok := bytes.Cut(data, []byte(" "))
	want, err := strconv.ParseUint(string(sum), 16, 32)
	if !ok || err != nil || uint32(want) != crc32.ChecksumIEEE(rest) {
		return nil, nil, fmt.Errorf("read %s: damaged (remove it to begin anew)", path)
	}
	head, body, _ = bytes.Cut(rest, []byte("\n"))
	return head, body, nil
}

func (k *keeper) write(path string, v any, body []byte) error {
	head, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	data := make([]byte, 9, 9+len(head)+1+len(body))
	data = append(append(append(data, head...), '\n'), body...)
	copy(data, fmt.Sprintf("%08x ", crc32.ChecksumIEEE(data[9:])))
	if err := k.disk.Write(path, data); err != nil {
		return fmt.Errorf("%w: %w", errDisk, err)
	}
	return nil
}

// plan writes a batch that is about to be submitted.
func (k *keeper) plan(p *plan) error {
	p.Seq = k.Seq + 1
	return k.write(k.next, p, p.body)
}

// save writes the state; a plan is done with it.
func (k *keeper) save(state json.RawMessage) error {
	c := checkpoint{Seq: k.Seq + 1, Kind: k.Kind, State: state}
	if err := k.write(k.at, &c, nil); err != nil {
		return err
	}
	k.checkpoint = c
	return nil
}
