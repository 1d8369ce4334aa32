package snapshot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T) *Store {
	t.Helper()
	s, err := Open(t.Context(), testkit.Bus(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func files(texts ...string) map[string][]byte {
	out := map[string][]byte{}
	for i := 0; i+1 < len(texts); i += 2 {
		out[texts[i]] = []byte(texts[i+1])
	}
	return out
}

func TestRevisions(t *testing.T) {
	s := open(t)
	if _, err := s.Current(t.Context()); !errors.Is(err, bus.ErrNotFound) {
		t.Fatalf("got %v, want ErrNotFound", err)
	}
	// Bytes that do not pack fill several pieces.
	big := make([]byte, 1<<20)
	for i, x := 0, uint32(1); i < len(big); i++ {
		x = x*1664525 + 1013904223
		big[i] = byte(x >> 24)
	}
	first, second := files("a/x.yml", "one", "big", string(big)), files("a/x.yml", "two")
	m1, err := s.Push(t.Context(), first, 0, Manifest{Message: "first", Author: "ann"})
	if err != nil || m1.Revision != 1 || m1.Chunks < 2 {
		t.Fatalf("%+v, %v", m1, err)
	}
	m2, err := s.Push(t.Context(), second, 1, Manifest{Message: "second"})
	if err != nil || m2.Revision != 2 {
		t.Fatalf("%+v, %v", m2, err)
	}
	if again, err := s.Push(t.Context(), second, 0, Manifest{Message: "again"}); err != nil || again.Revision != 2 || again.Message != "second" {
		t.Errorf("the same once more: %+v, %v", again, err)
	}
	if _, err := s.Push(t.Context(), first, 1, Manifest{}); !errors.Is(err, bus.ErrConflict) {
		t.Errorf("got %v, want ErrConflict", err)
	}
	for rev, want := range map[uint64]map[string][]byte{1: first, 2: second} {
		m, err := s.Get(t.Context(), rev)
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Load(t.Context(), m)
		if err != nil || !cmp.Equal(got, want) {
			t.Errorf("revision %d: %d files, %v", rev, len(got), err)
		}
	}
	log, err := s.Log(t.Context())
	if err != nil || len(log) != 2 || log[0].Message != "second" || log[1].Author != "ann" {
		t.Errorf("%+v, %v", log, err)
	}
}

func TestOldFilesAreForgotten(t *testing.T) {
	s := open(t)
	for i := range Kept + 2 {
		if _, err := s.Push(t.Context(), files("x", fmt.Sprint(i%(Kept+1))), 0, Manifest{}); err != nil {
			t.Fatal(err)
		}
	}
	log, err := s.Log(t.Context())
	if err != nil || len(log) != Kept+2 {
		t.Fatalf("%d, %v", len(log), err)
	}
	for _, m := range log {
		_, err := s.Load(t.Context(), m)
		// The first has the files of the newest, so they are there.
		if gone := m.Revision == 2; gone != errors.Is(err, ErrPruned) {
			t.Errorf("revision %d: %v", m.Revision, err)
		}
	}
}

func TestWatch(t *testing.T) {
	s := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan uint64, 10)
	done := make(chan error, 1)
	go func() { done <- s.Watch(ctx, func(m Manifest) { seen <- m.Revision }) }()
	if n := <-seen; n != 0 {
		t.Errorf("first %d", n)
	}
	if _, err := s.Push(t.Context(), files("x", "1"), 0, Manifest{}); err != nil {
		t.Fatal(err)
	}
	if n := <-seen; n != 1 {
		t.Errorf("then %d", n)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRead(t *testing.T) {
	fsys := fstest.MapFS{"r/a/x.yml": {Data: []byte("x")}, "r/a/_y.yml": {}, "r/_t/x.yml": {}, "r/.git/x.yml": {}, "r/a/readme": {}}
	got, err := Read(fsys, "r", func(name string) bool { return strings.HasSuffix(name, ".yml") })
	if err != nil || !cmp.Equal(got, files("a/x.yml", "x")) {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := Read(fstest.MapFS{"x.yml": {Data: make([]byte, MaxFile+1)}}, ".", func(string) bool { return true }); err == nil {
		t.Error("a huge file is taken")
	}
	if _, err := Read(fstest.MapFS{"x.yml": {Mode: fs.ModeNamedPipe}}, ".", func(string) bool { return true }); err == nil {
		t.Error("a pipe is read")
	}
	if _, err := Read(os.DirFS("/nonexistent"), ".", func(string) bool { return true }); err == nil {
		t.Error("a missing folder is taken")
	}
}

func FuzzUnpack(f *testing.F) {
	data, err := pack(files("a/x.yml", "one", "b.yml", strings.Repeat("y", 5000)))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte("PK\x05\x06"))
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := unpack(data)
		if err != nil {
			return
		}
		again, err := pack(got)
		if err != nil {
			t.Fatal(err)
		}
		back, err := unpack(again)
		if err != nil || Hash(back) != Hash(got) {
			t.Fatalf("%v", err)
		}
		if more, _ := pack(back); !bytes.Equal(more, again) {
			t.Fatal("the archive differs from time to time")
		}
	})
}
