package mapping

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sort"
	"strings"

	"github.com/valyala/fastjson"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// SampleReport is what a mapping makes of a source's recorded samples.
type SampleReport struct {
	Source     string            `json:"source"`
	Title      string            `json:"title"`
	Origin     string            `json:"origin"`
	Format     string            `json:"format"`
	Families   []string          `json:"families"`
	Recognised bool              `json:"recognised"` // every sample is told from all other sources
	Samples    int               `json:"samples"`    // files
	Goldens    int               `json:"goldens"`    // files
	Records    int               `json:"records"`
	Events     int               `json:"events"`
	Dead       int               `json:"dead"`
	Dropped    int               `json:"dropped"`
	Columns    int               `json:"columns"`      // that the mapping can fill
	Share      float64           `json:"mapped_share"` // of the values in the samples
	Files      map[string][]byte `json:"-"`            // golden path → what it should hold
}

// goldenEvents bounds a golden: enough to see every shape, few enough to read.
const goldenEvents = 40

// fixedReceived is when samples count as received: 2026-11-23T00:00:00Z.
const fixedReceived = 1795392000000

// RunSamples maps every sample in <source>/testdata.
func RunSamples(fsys fs.FS, m *Mapping) (SampleReport, error) {
	rep := SampleReport{Source: m.Source, Title: m.Title, Origin: m.Origin, Format: m.Format, Families: m.Families(), Columns: len(m.columns), Files: map[string][]byte{}}
	names, err := Samples(fsys, m.Source)
	if err != nil {
		return rep, err
	}
	mapped, unmapped := 0, 0
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return rep, err
		}
		records, err := m.split(name, data)
		if err != nil {
			return rep, err
		}
		sink := &sampleSink{}
		r := NewRunner(m, sink)
		var golden bytes.Buffer
		for i, rec := range records {
			sink.reset()
			res := r.Map(Record{UID: block.UID(name, uint32(i)), Received: fixedReceived, Data: rec})
			rep.Records++
			rep.Events += res.Events
			rep.Dropped += res.Dropped
			if res.Reason != "" {
				rep.Dead++
				fmt.Fprintf(&golden, "dead %s: %v\n", res.Reason, res.Err)
				continue
			}
			if err := sink.write(&golden); err != nil {
				return rep, fmt.Errorf("%s: record %d: %w", name, i+1, err)
			}
		}
		mapped, unmapped = mapped+r.Mapped, unmapped+r.Unmapped
		rep.Samples++
		rep.Files[goldenName(name)] = firstLines(golden.Bytes(), goldenEvents)
	}
	if mapped > 0 {
		rep.Share = float64(mapped) / float64(mapped+unmapped)
	}
	for g := range rep.Files {
		if _, err := fs.Stat(fsys, g); err == nil {
			rep.Goldens++
		}
	}
	return rep, nil
}

// Samples lists the recorded samples of a source.
func Samples(fsys fs.FS, source string) ([]string, error) {
	var out []string
	entries, err := fs.ReadDir(fsys, path.Join(source, "testdata"))
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		switch path.Ext(e.Name()) {
		case ".ndjson", ".log", ".json", ".csv", ".tsv", ".txt":
			out = append(out, path.Join(source, "testdata", e.Name()))
		}
	}
	sort.Strings(out)
	return out, nil
}

// eachSample visits the records of a source's samples.
func (m *Mapping) eachSample(fsys fs.FS, visit func(name string, record []byte)) error {
	names, err := Samples(fsys, m.Source)
	if err != nil {
		return err
	}
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return err
		}
		records, err := m.split(name, data)
		if err != nil {
			return err
		}
		for _, r := range records {
			visit(name, r)
		}
	}
	return nil
}

func goldenName(sample string) string {
	dir, file := path.Split(sample)
	return path.Join(dir, "golden", file+".events")
}

// split cuts a sample into records as ingest would: lines, or for .json the
// elements of an array or the one document.
func (m *Mapping) split(name string, data []byte) ([][]byte, error) {
	if path.Ext(name) != ".json" {
		if m.Framing != (Framing{}) {
			return m.Framing.frame(data), nil
		}
		var out [][]byte
		for _, l := range bytes.Split(data, []byte("\n")) {
			if l = bytes.TrimSuffix(l, []byte("\r")); len(l) > 0 {
				out = append(out, l)
			}
		}
		return out, nil
	}
	v, err := fastjson.ParseBytes(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if v.Type() != fastjson.TypeArray {
		return [][]byte{v.MarshalTo(nil)}, nil
	}
	var out [][]byte
	for _, e := range v.GetArray() {
		out = append(out, e.MarshalTo(nil))
	}
	return out, nil
}

func firstLines(b []byte, n int) []byte {
	at := 0
	for range n {
		i := bytes.IndexByte(b[at:], '\n')
		if i < 0 {
			return b
		}
		at += i + 1
	}
	return b[:at]
}

// sampleSink builds blocks and reads them back, as detect would see them.
type sampleSink struct {
	builders [len(event.FamilyNames)]*block.Builder
}

func (s *sampleSink) Builder(f event.Family) *block.Builder {
	if s.builders[f] == nil {
		s.builders[f] = block.NewBuilder(f)
	}
	return s.builders[f]
}

func (s *sampleSink) reset() {
	for _, b := range s.builders {
		if b != nil {
			b.Reset()
		}
	}
}

func (s *sampleSink) write(out *bytes.Buffer) error {
	for f, b := range s.builders {
		if b == nil || b.Rows() == 0 {
			continue
		}
		var blk block.Block
		if err := block.Decode(b.AppendTo(nil, block.Header{}), &blk); err != nil {
			return err
		}
		for row := range blk.Rows() {
			fmt.Fprintf(out, "%s %s\n", event.Family(f), blk.AppendJSON(nil, row))
		}
	}
	return nil
}

// Differences compares a report's goldens with those in fsys.
func Differences(fsys fs.FS, rep SampleReport) error {
	var errs []error
	names := make([]string, 0, len(rep.Files))
	for n := range rep.Files {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		want, err := fs.ReadFile(fsys, n)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: no golden; run `vagus sources test --update`", n))
			continue
		}
		got, wantLines := strings.Split(string(rep.Files[n]), "\n"), strings.Split(string(want), "\n")
		for i := range max(len(got), len(wantLines)) {
			g, w := line(got, i), line(wantLines, i)
			if g != w {
				errs = append(errs, fmt.Errorf("%s:%d: differs\n  got  %s\n  want %s", n, i+1, g, w))
				break
			}
		}
	}
	return errors.Join(errs...)
}

func line(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}
