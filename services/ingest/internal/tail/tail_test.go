package tail

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func wait(t *testing.T, hub *fakeHub, want ...string) {
	t.Helper()
	testkit.Eventually(t, fmt.Sprintf("%d records", len(want)), func() bool { return hub.len() >= len(want) })
	if diff := cmp.Diff(want, hub.texts()); diff != "" {
		t.Fatal(diff)
	}
}

func TestGrowthRenameRestart(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{}
	log, journal := filepath.Join(dir, "a.log"), filepath.Join(dir, "journal")
	config := Config{Paths: []string{filepath.Join(dir, "*.log")}, Exclude: []string{"secret*"}}
	appendTo(t, log, "one\ntwo\nthr")
	appendTo(t, filepath.Join(dir, "secret.log"), "no\n")
	appendTo(t, filepath.Join(dir, "b.log.gz"), "no\n")
	appendTo(t, filepath.Join(dir, "packed.log"), "\x1f\x8b no\n")
	stop := start(t, hub, journal, config)
	wait(t, hub, "one", "two")
	appendTo(t, log, "ee\r\n\nfour\n")
	wait(t, hub, "one", "two", "three", "four")
	// Rotated while the program writes on.
	if err := os.Rename(log, log+".1"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "six\n")
	testkit.Eventually(t, "the new file", func() bool { return hub.len() == 5 })
	appendTo(t, log+".1", "five\n")
	wait(t, hub, "one", "two", "three", "four", "six", "five")
	stop()
	// While nobody looks: more, rotation, and a new file.
	appendTo(t, log, "seven\n")
	if err := os.Rename(log, log+".2"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "eight\n")
	stop = start(t, hub, journal, config)
	testkit.Eventually(t, "both", func() bool { return hub.len() == 8 })
	stop()
	start(t, hub, journal, config)
	appendTo(t, log, "nine\n")
	testkit.Eventually(t, "the last", func() bool { return hub.len() == 9 })
	if got := strings.Join(hub.texts(), " "); strings.Count(got, "seven") != 1 || strings.Count(got, "eight") != 1 {
		t.Error(got)
	}
	if got := hub.records[0].Remote; got != "file:"+log {
		t.Errorf("remote %q", got)
	}
}

func TestTruncation(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{}
	log := filepath.Join(dir, "a.log")
	appendTo(t, log, numbered("before", 0, 3))
	start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{log}})
	testkit.Eventually(t, "three", func() bool { return hub.len() == 3 })
	// Longer than before at once: only the bytes before the place tell.
	if err := os.WriteFile(log, []byte(numbered("after", 0, 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	testkit.Eventually(t, "all of the new ones", func() bool { return hub.len() == 103 })
	if err := os.Truncate(log, 0); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "x\n")
	testkit.Eventually(t, "the last", func() bool { return hub.len() == 104 })
}

// A file that has another's inode, and its size, is another file.
func TestOtherFileWhileAway(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{}
	log, journal := filepath.Join(dir, "a.log"), filepath.Join(dir, "journal")
	appendTo(t, log, numbered("same", 0, 10))
	stop := start(t, hub, journal, Config{Paths: []string{log}})
	testkit.Eventually(t, "ten", func() bool { return hub.len() == 10 })
	stop()
	if err := os.WriteFile(log, []byte(numbered("else", 0, 20)), 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, hub, journal, Config{Paths: []string{log}})
	testkit.Eventually(t, "twenty more", func() bool { return hub.len() == 30 })
}

func TestFromEnd(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{}
	log, journal := filepath.Join(dir, "a.log"), filepath.Join(dir, "journal")
	config := Config{Paths: []string{filepath.Join(dir, "*.log")}, From: "end"}
	appendTo(t, log, "old\nol")
	stop := start(t, hub, journal, config)
	appendTo(t, log, "d, too\n")
	appendTo(t, filepath.Join(dir, "b.log"), "")
	testkit.Eventually(t, "the line that was begun", func() bool { return hub.len() == 1 })
	stop()
	appendTo(t, log, "new\n")
	appendTo(t, filepath.Join(dir, "c.log"), "later\n")
	start(t, hub, journal, config)
	testkit.Eventually(t, "both", func() bool { return hub.len() == 3 })
	if got := strings.Join(hub.texts(), " "); strings.Contains(got, "old,") && !strings.HasPrefix(got, "old, too") {
		t.Error(got)
	}
}

func TestLongLine(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{}
	log := filepath.Join(dir, "a.log")
	appendTo(t, log, "one\n"+strings.Repeat("x", 3<<20)+"\ntwo\n"+strings.Repeat("y", 900<<10)+"\nthree\n")
	start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{log}})
	testkit.Eventually(t, "the last", func() bool { return strings.Contains(strings.Join(hub.texts(), " "), "three") })
	var got []string
	for _, r := range hub.records {
		got = append(got, fmt.Sprintf("%s%.3s %d", r.Reason, r.Text, len(r.Text)))
	}
	if diff := cmp.Diff([]string{"one 3", "line_too_longxxx 65536", "two 3", "yyy 921600", "three"[:3] + " 5"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestSeveralLines(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{framing: frame.Framing{Text: true, Start: regexp.MustCompile(`^\d{4}-`)}}
	log := filepath.Join(dir, "a.log")
	start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{log}, Source: "java.log"})
	appendTo(t, log, "2026-01-01 one\n  at x\n")
	time.Sleep(2 * poll) // the record is there and may go on
	appendTo(t, log, "  at y\n2026-01-01 two\n")
	wait(t, hub, "2026-01-01 one\n  at x\n  at y", "2026-01-01 two")
}

func TestHeader(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{framing: frame.Framing{Text: true, Header: "#"}}
	log := filepath.Join(dir, "a.log")
	stop := start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{log}, Source: "zeek.conn"})
	appendTo(t, log, "#fields\ta\nx\n")
	wait(t, hub, "#fields\ta\nx")
	stop()
	appendTo(t, log, "y\n")
	start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{log}, Source: "zeek.conn"})
	wait(t, hub, "#fields\ta\nx", "#fields\ta\ny")
}

func TestContainers(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{}
	pods, links := filepath.Join(dir, "pods"), filepath.Join(dir, "containers")
	for _, d := range []string{pods, links} {
		if err := os.Mkdir(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	log, link := filepath.Join(pods, "0.log"), filepath.Join(links, "web_default_app.log")
	if err := os.Symlink(log, link); err != nil {
		t.Fatal(err)
	}
	start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{filepath.Join(links, "*.log")}, Envelope: "cri"})
	appendTo(t, log, "2026-10-11T22:14:15Z stdout F one\n2026-10-11T22:14:15Z stdout P two \n2026-10-11T22:14:15Z stdout F parts\n")
	wait(t, hub, "2026-10-11T22:14:15Z stdout F one", "2026-10-11T22:14:15Z stdout P two \n2026-10-11T22:14:15Z stdout F parts")
	if err := os.Rename(log, log+".20261011"); err != nil {
		t.Fatal(err)
	}
	appendTo(t, log, "2026-10-11T22:14:16Z stderr F three\n")
	testkit.Eventually(t, "the new file of the link", func() bool { return hub.len() == 3 })
}

func TestDockerParts(t *testing.T) {
	c := &chunker{framing: frame.Framing{Text: true}, envelope: "docker", limits: (&fakeHub{}).Limits()}
	var out chunk
	data := `{"log":"a\n","stream":"stdout","time":"t"}` + "\n" + `{"log":"b","stream":"stderr","time":"t"}` + "\n" + `{"log":"c\n","stream":"stderr","time":"t"}` + "\n" + `{"log":"d","stream":"stdout","time":"t"}` + "\n"
	if err := c.cut([]byte(data), false, "", false, &out); err != nil || len(out.frames.Records) != 2 || out.used != len(data)-43+2 {
		t.Errorf("%v %d records, %d of %d bytes", err, len(out.frames.Records), out.used, len(data))
	}
}

func TestBusyHub(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{busy: true}
	log := filepath.Join(dir, "a.log")
	appendTo(t, log, numbered("line", 0, 1000))
	stop := start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{log}})
	time.Sleep(100 * time.Millisecond)
	hub.set(false)
	testkit.Eventually(t, "all", func() bool { return hub.len() == 1000 })
	stop()
}

func TestTenThousandFiles(t *testing.T) {
	t.Parallel()
	dir, hub := t.TempDir(), &fakeHub{}
	for i := range 10_000 {
		appendTo(t, filepath.Join(dir, fmt.Sprintf("%d.log", i)), numbered("line", 0, 2))
	}
	start(t, hub, filepath.Join(dir, "journal"), Config{Paths: []string{filepath.Join(dir, "*.log")}})
	testkit.Eventually(t, "all", func() bool { return hub.len() == 20_000 })
	testkit.Eventually(t, "descriptors are closed", func() bool {
		fds, err := os.ReadDir("/proc/self/fd")
		return err != nil || len(fds) < maxOpen+200
	})
	appendTo(t, filepath.Join(dir, "5000.log"), "more\n")
	testkit.Eventually(t, "one more", func() bool { return hub.len() == 20_001 })
}

// A process that tails is killed again and again while a program writes and
// rotates: nothing is lost, nothing is stored twice.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		t.Fatal(err)
	}
	const n = 60_000
	written := make(chan error, 1)
	go func() { written <- rotatingWriter(filepath.Join(logs, "app.log"), n, filepath.Join(dir, "stored")) }()
	run := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "VAGUS_TEST_TAIL="+dir)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	kills := 0
	for end := false; !end; kills++ {
		cmd := run()
		select {
		case err := <-written:
			if end = true; err != nil {
				t.Fatal(err)
			}
		case <-time.After(time.Duration(50+rand.IntN(400)) * time.Millisecond):
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	cmd := run()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	var counts map[string]int
	var repeats int
	testkit.Eventually(t, "all lines", func() bool { counts, repeats = storedLines(t, dir); return len(counts) >= n })
	for text, times := range counts {
		if times != 1 {
			t.Errorf("%q is stored %d times", text, times)
		}
	}
	if len(counts) != n {
		t.Errorf("%d lines, want %d", len(counts), n)
	}
	t.Logf("%d lines over %d kills, %d batches repeated", n, kills, repeats)
}

// rotatingWriter writes n lines in bursts, and renames the file now and then as
// logrotate does: the program goes on with the old file for a moment. A file that
// was renamed before anybody saw it could not be found again, so each waits until
// its first line is stored.
func rotatingWriter(path string, n int, stored string) error {
	open := func() (*os.File, error) { return os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) }
	f, err := open()
	if err != nil {
		return err
	}
	defer func() { f.Close() }()
	rotations, first := 0, 0
	for i := 0; i < n; {
		var b bytes.Buffer
		for range min(200, n-i) {
			fmt.Fprintf(&b, "line %d of a log that is rotated\n", i)
			i++
		}
		half := b.Len() / 2
		for _, part := range [][]byte{b.Bytes()[:half], b.Bytes()[half:]} {
			if _, err := f.Write(part); err != nil {
				return err
			}
			time.Sleep(5 * time.Millisecond)
		}
		if i%4000 != 0 {
			continue
		}
		for known := false; !known; time.Sleep(5 * time.Millisecond) {
			have, err := os.ReadFile(stored)
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return err
			}
			known = bytes.Contains(have, fmt.Appendf(nil, "line %d of", first))
		}
		rotations++
		if err := os.Rename(path, fmt.Sprintf("%s.%d", path, rotations)); err != nil {
			return err
		}
		next, err := open()
		if err != nil {
			return err
		}
		m := min(100, n-i)
		for range m { // to the old file
			if _, err := fmt.Fprintf(f, "line %d of a log that is rotated\n", i); err != nil {
				return err
			}
			i++
		}
		f.Close()
		f, first = next, i
	}
	return nil
}

// storedLines counts each line in the batches that the child stored, a batch
// of the same id once.
func storedLines(t *testing.T, dir string) (counts map[string]int, repeats int) {
	counts = map[string]int{}
	f, err := os.Open(filepath.Join(dir, "stored"))
	if err != nil {
		return counts, 0
	}
	defer f.Close()
	seen := map[string]bool{}
	scan := bufio.NewScanner(f)
	scan.Buffer(nil, 64<<20)
	for scan.Scan() {
		var b struct {
			ID      string
			Records []record
		}
		if json.Unmarshal(scan.Bytes(), &b) != nil {
			continue // torn by a kill: it was not acknowledged
		}
		if seen[b.ID] {
			repeats++
			continue
		}
		seen[b.ID] = true
		for _, r := range b.Records {
			counts[r.Text]++
		}
	}
	return counts, repeats
}

func TestJournalTorn(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < 10_000; i += 100 { // compacts on the way
		var entries []*entry
		for k := range 100 {
			entries = append(entries, &entry{ID: fmt.Sprint((i + k) % 7), Offset: int64(i + k)})
		}
		if err := j.write(entries...); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.write(&entry{ID: "3", Gone: true}); err != nil {
		t.Fatal(err)
	}
	if err := j.close(); err != nil {
		t.Fatal(err)
	}
	appendTo(t, filepath.Join(dir, "positions"), `00000000 {"id":"5","off`)
	j, err = openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	if len(j.live) != 6 || j.live["0"].Offset != 9996 || j.live["3"].ID != "" {
		t.Errorf("%+v", j.live)
	}
}

// FuzzJournal: whatever is in the file, it opens or says why.
func FuzzJournal(f *testing.F) {
	f.Add([]byte("00000000 {}\n"))
	f.Add([]byte("9f1c2e4a {\"id\":\"a\",\"offset\":1}\n\n\x00"))
	f.Fuzz(func(t *testing.T, line []byte) { parseEntry(line) })
}

// FuzzChunk: a chunk that was cut gives the same records when it is cut again.
func FuzzChunk(f *testing.F) {
	for _, s := range []string{"a\nb\n", "2026 a\n b\n2026 c\n", "#f\nx\ny\n", "t stdout P a\nt stdout F b\nt stderr P c\n", "{\"a\":1}\n{", "\n\n", "{} 0\n", "{\n} 00\n A0\n", " {\n#a\nb\n"} {
		for kind := range uint8(5) {
			f.Add([]byte(s), kind, false)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, kind uint8, skip bool) {
		c := &chunker{framing: frame.Framing{Text: true}, limits: frame.Limits{MaxRecord: 64, MaxRecords: 1 << 20, MaxDepth: 8}}
		switch kind % 5 {
		case 1:
			c.framing.Start = regexp.MustCompile(`^\d`)
		case 2:
			c.framing.Header = "#"
		case 3:
			c.envelope = "cri"
		case 4:
			c.framing.Group = regexp.MustCompile(`^(\w+)`)
		}
		var live, again chunk
		if c.cut(data, skip, "#old\n", false, &live) != nil || live.used == 0 {
			return
		}
		if live.used > len(data) {
			t.Fatalf("%d of %d bytes", live.used, len(data))
		}
		if err := c.cut(data[:live.used], skip, "#old\n", true, &again); err != nil {
			t.Fatal(err)
		}
		if again.used != live.used || again.skip != live.skip || again.header != live.header || !bytes.Equal(again.body, live.body) ||
			!cmp.Equal(again.frames.Records, live.frames.Records) && len(live.frames.Records)+len(again.frames.Records) > 0 {
			t.Fatalf("%q: %+v, again: %+v", data, live, again)
		}
	})
}

func BenchmarkTail(b *testing.B) {
	dir := b.TempDir()
	log := filepath.Join(dir, "a.log")
	line := `203.0.113.7 - - [11/Oct/2026:22:14:15 +0000] "POST /v1/chat/completions HTTP/1.1" 200 1534 "-" "python-requests/2.32" 0.312` + "\n"
	const n = 100_000
	appendTo(b, log, strings.Repeat(line, n))
	hub := &fakeHub{quiet: true}
	tailer, err := New([]Config{{Paths: []string{log}}}, Options{Hub: hub, Dir: filepath.Join(dir, "journal")})
	if err != nil {
		b.Fatal(err)
	}
	defer tailer.journal.close()
	tailer.scan()
	b.SetBytes(int64(n * len(line)))
	b.ReportAllocs()
	for b.Loop() {
		hub.count = 0
		for _, f := range tailer.files {
			f.anew()
			f.size = 0
		}
		for hub.count < n {
			if _, err := tailer.round(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
	for _, f := range tailer.files {
		f.close()
	}
}
