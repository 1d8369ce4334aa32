package tail

import (
	"os"
	"path/filepath"
	"time"
)

// scan evaluates the patterns: new files are followed, renamed ones are known
// by their new name.
func (t *Tailer) scan() {
	t.scanned = time.Now()
	begin := t.scanned
	start := t.first
	t.first = false
	known := map[inode]entry{}
	for _, e := range t.journal.live {
		known[inode{e.Dev, e.Inode}] = e
	}
	for _, s := range t.sets {
		for _, pattern := range s.Paths {
			names, err := filepath.Glob(pattern)
			if err != nil {
				continue // checked by Check
			}
			for _, name := range names {
				if !s.excluded(name) {
					t.found(s, name, known, start && s.From == "end")
				}
			}
		}
	}
	if err := t.save(); err != nil {
		t.opts.Logger.Error("tail", "error", err)
	}
	// Many files take long to look for: not more than a tenth of the time.
	if took := time.Since(begin); took > rescan/10 {
		t.scanned = t.scanned.Add(9 * took)
	}
}

func (t *Tailer) found(s *set, name string, known map[inode]entry, atEnd bool) {
	info, err := os.Stat(name)
	if err != nil || !info.Mode().IsRegular() {
		return
	}
	id, ok := inodeOf(info)
	if !ok {
		return
	}
	if f := t.files[id]; f != nil {
		if f.Path != name && !named(f) {
			f.Path, f.at, f.until = name, "", time.Time{} // renamed to what the pattern takes, too
		}
		return
	}
	if len(t.files) >= maxFiles {
		t.opts.Logger.Warn("tail leaves out a file: too many", "file", name, "most", maxFiles)
		return
	}
	f := &file{entry: entry{Path: name, Dev: id.dev, Inode: id.ino}, set: s, changed: info.ModTime()}
	if e, ok := known[id]; ok {
		f.entry = e
		f.Path = name
		if err := f.open(); err != nil || info.Size() < f.Offset || !f.same() {
			f.close()
			t.replace(f) // the inode is used again, or the file was truncated
		}
	} else {
		f.anew()
		// In the journal before it is read: if it is renamed to what no pattern
		// takes while nobody looks, the next start finds it all the same.
		f.dirty = true
		if atEnd {
			if err := f.seekEnd(info.Size()); err != nil {
				t.opts.Logger.Warn("tail", "file", name, "error", err)
			}
		}
	}
	t.files[id] = f
}

// named reports whether the file still has the name it was last seen with.
func named(f *file) bool {
	info, err := os.Stat(f.Path)
	if err != nil {
		return false
	}
	id, ok := inodeOf(info)
	return ok && id == f.inode()
}

// resume finds the files of the journal that no pattern takes any more: they
// were rotated while nobody looked, and the rest of them is still to be read.
func (t *Tailer) resume() {
	for _, e := range t.journal.live {
		f := &file{entry: e, until: time.Now().Add(drain)}
		if t.files[f.inode()] != nil {
			continue
		}
		if f.set = t.setOf(e.Path); f.set == nil {
			continue // configured again one day, perhaps
		}
		if !f.find() || f.set.excluded(f.name()) || f.open() != nil {
			t.opts.Logger.Warn("tail: a file is gone; what was written to it after the last look is lost", "file", e.Path, "offset", e.Offset)
			t.lost.Add(1)
			t.forget(f)
			continue
		}
		info, err := f.fd.Stat()
		if err != nil || info.Size() < f.Offset || !f.same() {
			t.forget(f)
			continue
		}
		f.size, f.changed = info.Size(), info.ModTime()
		t.files[f.inode()] = f
	}
}

// setOf is the configuration that takes a path.
func (t *Tailer) setOf(path string) *set {
	for _, s := range t.sets {
		for _, pattern := range s.Paths {
			if ok, _ := filepath.Match(pattern, path); ok {
				return s
			}
		}
	}
	return nil
}
