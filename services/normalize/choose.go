package normalize

import (
	"fmt"

	"github.com/vagus-hub/vagus/services/normalize/internal/envelope"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// auto is the source of records that must be recognised by what is in them.
const auto = "auto"

// choose finds who maps a record and what of it: it takes the envelope off
// and, if the source is not named, recognises it. With no runner, reason and
// problem say why the record is a dead letter.
func (w *worker) choose(rec *mapping.Record) (r *mapping.Runner, reason, problem string) {
	source, kind := w.raw.Header.Source, w.raw.Header.Envelope
	if kind == "" && source != auto {
		if r = w.runner(source); r == nil {
			return nil, "source", "no mapping for source " + source
		}
		return r, "", ""
	}
	var content envelope.Content
	if kind != "" {
		content = w.peeler.Peel(kind, rec.Data)
		w.known = content.Known
		rec.Known = &w.known
	}
	if source != auto {
		m := w.set.Get(source)
		if m == nil {
			return nil, "source", "no mapping for source " + source
		}
		rec.Data = w.named(m, kind, rec.Data, content.Inner)
		return w.runner(source), "", ""
	}
	for _, inner := range content.Inner {
		if m := w.finder.Find(inner); m != nil {
			if !m.ReadsHeader(kind == envelope.Syslog) {
				rec.Data = inner
			}
			return w.runner(m.Source), "", ""
		}
	}
	if m := w.finder.Find(rec.Data); m != nil {
		return w.runner(m.Source), "", ""
	}
	fallback := envelope.Fallback(kind, rec.Data)
	if r = w.runner(fallback); r == nil {
		problem = "no source's mapping recognises the record; name the source, or add one (vagus sources new)"
		if fallback != "" {
			problem = fmt.Sprintf("no source's mapping recognises the record, and there is none for %s", fallback)
		}
		return nil, "unrecognized", problem
	}
	return r, "", ""
}

// named picks what of a record the mapping of a named source wants: what is in
// the envelope, unless the mapping is for records in such an envelope.
func (w *worker) named(m *mapping.Mapping, kind string, whole []byte, inner [][]byte) []byte {
	if len(inner) == 0 || m.Source == envelope.Fallback(kind, whole) || m.ReadsHeader(kind == envelope.Syslog) {
		return whole
	}
	for _, one := range inner {
		if w.finder.Recognises(m.Source, one) {
			return one
		}
	}
	if w.finder.Recognises(m.Source, whole) {
		return whole
	}
	return inner[0]
}

// runner is the runner of a source, nil if there is no mapping for it.
func (w *worker) runner(source string) *mapping.Runner {
	r := w.runners[source]
	if r == nil {
		if m := w.set.Get(source); m != nil {
			r = mapping.NewRunner(m, w)
			w.runners[source] = r
		}
	}
	return r
}
