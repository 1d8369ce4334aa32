package bulk

import (
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
)

// faults is what an item that was not stored is answered: status, type and
// reason as Elasticsearch has them, because shippers decide by them what to
// send again (429) and what never (400).
var faults = [...]struct {
	status      int
	typ, reason string
}{
	stored:      {status: 201},
	busy:        {429, "es_rejected_execution_exception", "the hub cannot take more at the moment; send the document again"},
	malformed:   {400, "document_parsing_exception", "the document is no JSON object, or nested too deeply; it is kept as a dead letter"},
	tooLong:     {400, "document_parsing_exception", "the document is too long; its beginning is kept as a dead letter"},
	unsupported: {400, "action_request_validation_exception", "only index and create are taken: this is no database, but a hub that keeps what was sent"},
	forbidden:   {403, "security_exception", "this token may not write to the source of the document"},
	noIndex:     {400, "action_request_validation_exception", "Validation Failed: 1: index is missing;"},
	failed:      {500, "exception", "the hub refused the document"},
}

// wants tells which parts of an answer filter_path asks for.
type wants struct {
	took, errors bool
	// For each action the parts of an item.
	parts [len(opNames)]part
}

type part uint16

const (
	partIndex part = 1 << iota
	partID
	partVersion
	partResult
	partShards
	partSeq
	partTerm
	partStatus
	partErrorType
	partErrorReason
)

var parts = []struct {
	part part
	path string
}{
	{partIndex, "_index"}, {partID, "_id"}, {partVersion, "_version"}, {partResult, "result"}, {partShards, "_shards"},
	{partSeq, "_seq_no"}, {partTerm, "_primary_term"}, {partStatus, "status"}, {partErrorType, "error.type"}, {partErrorReason, "error.reason"},
}

// newWants reads the query's filter_path: comma-separated paths in which * is
// any text of one part and ** any parts; with "-" before it, what is left out.
func newWants(filter string) wants {
	var in, out [][]string
	for _, f := range strings.SplitN(filter, ",", 64) {
		if f = strings.TrimSpace(f); f == "" || strings.Count(f, ".") > 8 {
			continue
		}
		if rest, no := strings.CutPrefix(f, "-"); no {
			out = append(out, strings.Split(rest, "."))
		} else {
			in = append(in, strings.Split(f, "."))
		}
	}
	want := func(path string) bool {
		p := strings.Split(path, ".")
		return (len(in) == 0 || covers(in, p)) && !covers(out, p)
	}
	w := wants{took: want("took"), errors: want("errors")}
	for o := range w.parts {
		for _, p := range parts {
			if want("items." + opNames[o] + "." + p.path) {
				w.parts[o] |= p.part
			}
		}
	}
	return w
}

// covers reports whether a pattern names the path or something around it.
func covers(patterns [][]string, path []string) bool {
	for _, p := range patterns {
		if coversOne(p, path) {
			return true
		}
	}
	return false
}

func coversOne(pattern, path []string) bool {
	switch {
	case len(pattern) == 0:
		return true
	case pattern[0] == "**":
		return coversOne(pattern[1:], path) || len(path) > 0 && coversOne(pattern, path[1:])
	case len(path) == 0:
		return false
	}
	return httpin.Match(pattern[0], []byte(path[0])) && coversOne(pattern[1:], path[1:])
}

// appendAnswer writes the answer to a bulk request after its opening brace and
// what else is in dst. seed makes ids for items without.
func appendAnswer(dst []byte, b *batch, w *wants, took time.Duration, seed string) []byte {
	if w.errors {
		dst = comma(dst)
		bad := false
		for i := range b.items {
			bad = bad || b.items[i].verdict != stored
		}
		dst = strconv.AppendBool(append(dst, `"errors":`...), bad)
	}
	if w.took {
		dst = comma(dst)
		dst = strconv.AppendInt(append(dst, `"took":`...), took.Milliseconds(), 10)
	}
	none := len(dst)
	dst = comma(dst)
	dst = append(dst, `"items":[`...)
	empty := len(dst)
	for i := range b.items {
		it := &b.items[i]
		has := w.parts[it.op]
		if it.verdict == stored {
			has &^= partErrorType | partErrorReason
		} else {
			has &^= partVersion | partResult | partShards | partSeq | partTerm
		}
		if has == 0 {
			continue
		}
		if len(dst) > empty {
			dst = append(dst, ',')
		}
		dst = append(append(append(dst, `{"`...), opNames[it.op]...), `":{`...)
		dst = append(appendItem(dst, it, has, seed, i), `}}`...)
	}
	if len(dst) == empty && (len(b.items) > 0 || w.parts[opIndex] == 0) {
		return append(dst[:none], '}')
	}
	return append(dst, `]}`...)
}

func appendItem(dst []byte, it *item, has part, seed string, n int) []byte {
	fault := &faults[it.verdict]
	if has&partIndex != 0 {
		dst = appendText(append(comma(dst), `"_index":`...), it.index)
	}
	if has&partID != 0 {
		dst = append(comma(dst), `"_id":`...)
		if len(it.id) > 0 {
			dst = appendText(dst, it.id)
		} else {
			dst = append(strconv.AppendInt(append(append(append(dst, '"'), seed...), '-'), int64(n), 36), '"')
		}
	}
	for _, f := range [...]struct {
		part part
		text string
	}{
		{partVersion, `"_version":1`}, {partResult, `"result":"created"`}, {partShards, `"_shards":{"total":1,"successful":1,"failed":0}`},
		{partSeq, `"_seq_no":0`}, {partTerm, `"_primary_term":1`},
	} {
		if has&f.part != 0 {
			dst = append(comma(dst), f.text...)
		}
	}
	if has&partStatus != 0 {
		dst = strconv.AppendInt(append(comma(dst), `"status":`...), int64(fault.status), 10)
	}
	if has&(partErrorType|partErrorReason) != 0 {
		dst = append(comma(dst), `"error":{`...)
		if has&partErrorType != 0 {
			dst = strconv.AppendQuote(append(dst, `"type":`...), fault.typ)
		}
		if has&partErrorReason != 0 {
			dst = strconv.AppendQuote(append(comma(dst), `"reason":`...), fault.reason)
		}
		dst = append(dst, '}')
	}
	return dst
}

// comma separates from what is before, unless it opens a bracket.
func comma(dst []byte) []byte {
	if c := dst[len(dst)-1]; c == '{' || c == '[' {
		return dst
	}
	return append(dst, ',')
}

// appendText writes a JSON string of at most 512 bytes of text.
func appendText(dst, text []byte) []byte {
	dst = append(dst, '"')
	for i := 0; i < len(text) && i < 512; {
		c := text[i]
		r, n := rune(c), 1
		if c >= utf8.RuneSelf {
			r, n = utf8.DecodeRune(text[i:])
		}
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = append(dst, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		case r == utf8.RuneError && n == 1:
			dst = append(dst, "\ufffd"...)
		default:
			dst = append(dst, text[i:i+n]...)
		}
		i += n
	}
	return append(dst, '"')
}
