package sigma

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Format makes Sigma's files load as they are.
type Format struct{}

var _ rule.Format = Format{}

// Recognize implements rule.Format.
func (Format) Recognize(data []byte) bool { return Recognize(data) }

// Load implements rule.Format.
func (Format) Load(files []rule.File) ([]*rule.Rule, []rule.Problem) {
	r := Load(files)
	return r.Rules, r.Problems
}

// Result is what a set of files gave.
type Result struct {
	Rules    []*rule.Rule // in order of id
	Problems []rule.Problem
	Reports  []Report // one for each document, in order of file
}

// Report says what became of a document.
type Report struct {
	File      string `json:"file"`
	Kind      string `json:"kind"` // rule, correlation, filter, placeholders or unknown
	ID        string `json:"id,omitempty"`
	SigmaID   string `json:"sigma_id,omitempty"`
	Title     string `json:"title,omitempty"`
	Logsource string `json:"logsource,omitempty"`
	Loaded    bool   `json:"loaded"`
	Reason    string `json:"reason,omitempty"`
	Line      int    `json:"line,omitempty"` // of the reason
	Column    int    `json:"column,omitempty"`
}

// because notes why a document does not load.
func (r *Report) because(p rule.Problem) {
	r.Reason, r.Line, r.Column = p.Message, p.Line, p.Column
}

// Load reads files as one set: correlations and filters refer to rules of any
// of them. A document with an error is left out, and the others are there.
func Load(files []rule.File) Result { return LoadWith(files, nil, func(int) {}) }

// LoadWith is Load with values of placeholders beside those of the files, and
// that tells of progress: done is called with the number of files that are
// finished, from several goroutines.
func LoadWith(files []rule.File, values Placeholders, done func(n int)) Result {
	parsed := make([]parsedFile, len(files))
	each(len(files), func(i int) { parsed[i] = parse(files[i]) })
	s := index(parsed)
	s.gather(parsed, values)
	each(len(files), func(i int) { s.convert(&parsed[i]); done(1) })
	var out Result
	seen := map[string]string{}
	for i := range parsed {
		f := &parsed[i]
		for j, r := range f.rules {
			if r == nil {
				continue
			}
			if other, twice := seen[r.ID]; twice {
				f.p.error(f.docs[j].at, "id %s is taken by %s", r.ID, other)
				f.reports[j].Loaded = false
				f.reports[j].because(rule.Problem{Line: f.docs[j].at.line, Column: f.docs[j].at.column, Message: "its id is taken by " + other})
				continue
			}
			seen[r.ID] = r.File
			out.Rules = append(out.Rules, r)
		}
		out.Problems = append(out.Problems, f.p.list...)
		out.Reports = append(out.Reports, f.reports...)
	}
	out.Problems = append(out.Problems, unused(parsed, values)...)
	slices.SortFunc(out.Rules, func(a, b *rule.Rule) int { return strings.Compare(a.ID, b.ID) })
	return out
}

// each runs f for 0 to n-1 on all processors.
func each(n int, f func(i int)) {
	var wg sync.WaitGroup
	workers := min(runtime.GOMAXPROCS(0), n)
	for w := range workers {
		wg.Go(func() {
			for i := w; i < n; i += workers {
				f(i)
			}
		})
	}
	wg.Wait()
}

type parsedFile struct {
	p       problems
	docs    []*document
	rules   []*rule.Rule // of the documents; nil if there is none
	reports []Report
	hash    string
}

func parse(f rule.File) parsedFile {
	sum := sha256.Sum256(f.Data)
	out := parsedFile{p: problems{file: f.Name}, hash: hex.EncodeToString(sum[:6])}
	out.docs = out.p.parse(f.Data)
	if out.p.errors() > 0 {
		rep := Report{File: f.Name, Kind: "unknown"}
		rep.because(out.p.firstError(0))
		out.reports = append(out.reports, rep)
	}
	return out
}

// firstError is the first of those that came after some; none has no message.
func (p *problems) firstError(from int) rule.Problem {
	for _, x := range p.list[from:] {
		if !x.Warning {
			return x
		}
	}
	return rule.Problem{}
}

// set finds the documents that others refer to.
type set struct {
	byRef   map[string]*document
	filters []*document
	values  Placeholders
}

func index(files []parsedFile) *set {
	s := &set{byRef: map[string]*document{}}
	for i := range files {
		for _, d := range files[i].docs {
			if d.filter != nil {
				s.filters = append(s.filters, d)
				continue
			}
			for _, ref := range []string{d.id, d.name} {
				if ref != "" && s.byRef[ref] == nil {
					s.byRef[ref] = d
				}
			}
		}
	}
	return s
}

// filtersOf lists the filters that belong to a rule.
func (s *set) filtersOf(d *document) []*document {
	var out []*document
	for _, f := range s.filters {
		if !f.source.covers(d.source) {
			continue
		}
		if f.filter.any || slices.ContainsFunc(f.filter.rules, func(n node) bool {
			return n.text != "" && (strings.EqualFold(n.text, d.id) || n.text == d.name)
		}) {
			out = append(out, f)
		}
	}
	return out
}

func (s *set) convert(f *parsedFile) {
	f.rules = make([]*rule.Rule, len(f.docs))
	reports := make([]Report, len(f.docs), len(f.docs)+len(f.reports))
	for i, d := range f.docs {
		rep := &reports[i]
		*rep = Report{File: d.file, SigmaID: d.id, Title: d.title}
		before := len(f.p.list)
		switch {
		case d.vars != nil:
			rep.Kind = "placeholders"
		case d.filter != nil:
			rep.Kind, rep.Logsource = "filter", d.source.String()
			s.checkFilter(&f.p, d)
		case d.correlation != nil:
			rep.Kind, rep.ID = "correlation", d.ruleID()
			f.rules[i] = s.correlate(&f.p, d)
		default:
			rep.Kind, rep.ID, rep.Logsource = "rule", d.ruleID(), d.source.String()
			filters := s.filtersOf(d)
			f.rules[i] = f.p.convert(d, filters, s.values)
		}
		rep.because(f.p.firstError(before))
		rep.Loaded = rep.Reason == ""
		if r := f.rules[i]; r != nil {
			r.Version = s.version(f, d)
		}
	}
	f.reports = append(reports, f.reports...)
}

// version changes when the file does, one of the rule's filters, or a value of
// one of its placeholders.
func (s *set) version(f *parsedFile, d *document) string {
	filters := s.filtersOf(d)
	if len(filters) == 0 && len(d.used) == 0 {
		return f.hash
	}
	h := sha256.New()
	h.Write([]byte(f.hash))
	for _, x := range filters {
		h.Write([]byte(x.file + x.id + x.title + x.date))
	}
	for _, name := range slices.Sorted(maps.Keys(d.used)) {
		h.Write([]byte(name + "\x00" + strings.Join(s.values[name], "\x00")))
	}
	return hex.EncodeToString(h.Sum(nil)[:6])
}

// checkFilter reports rules that a filter names and that are not there.
func (s *set) checkFilter(p *problems, d *document) {
	for i := range d.filter.rules {
		n := &d.filter.rules[i]
		if s.byRef[n.text] == nil && s.byRef[strings.ToLower(n.text)] == nil {
			p.warn(n, "filter: there is no rule %s in this set", n.text)
		}
	}
}
