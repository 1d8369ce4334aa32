package match

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// The sizes that values are cut to in a signal, in bytes.
const (
	maxShown = 512
	maxGroup = 2048
)

// Signal describes the match on a row to the rule that the feed is for.
func Signal(f *rule.Feed, b *block.Block, row int) finding.Signal {
	r := f.Rule
	s := finding.Signal{
		Rule: r.ID, Version: r.Version, EventUID: value(b, event.EventUID, row),
		Time: number(b, event.Time, row), Received: number(b, event.ReceivedAt, row),
		Source: value(b, event.Source, row), Family: event.Family(b.Header.Family).String(),
		Fields: map[string]string{},
	}
	if s.Source == "" {
		s.Source = b.Header.Source
	}
	if s.Received == 0 {
		s.Received = b.Header.Received
	}
	if s.Time == 0 {
		s.Time = s.Received
	}
	keys := make([]string, len(f.Group))
	names := r.GroupBy()
	for i, id := range f.Group {
		keys[i] = cut(value(b, id, row), maxGroup)
		s.Group = append(s.Group, finding.Pair{Path: names[i].Name, Value: keys[i]})
	}
	s.GroupKey = strings.Join(keys, "\x1f")
	if len(f.Value) > 0 {
		s.Value = cut(value(b, f.Value[0], row), maxGroup)
	}
	for _, id := range f.Shown {
		if v := value(b, id, row); v != "" {
			s.Fields[event.Columns[id].Path] = cut(v, maxShown)
		}
	}
	return s
}

// value copies a row's value as text; "" if it is absent.
func value(b *block.Block, id event.ColumnID, row int) string {
	c := b.Column(id)
	if c == nil || c.Absent(row) {
		return ""
	}
	switch k := event.Columns[id].Kind; {
	case k.Text():
		return strings.Clone(c.Text(row))
	case k == event.KindF32 || k == event.KindF64:
		return strconv.FormatFloat(c.Float(row), 'g', -1, 64)
	case k == event.KindBool:
		return strconv.FormatBool(c.Int(row) != 0)
	case k == event.KindKeywords:
		return strings.Join(Texts(c, row), ", ")
	case k == event.KindScores:
		return ""
	}
	return strconv.FormatInt(c.Int(row), 10)
}

func number(b *block.Block, id event.ColumnID, row int) int64 {
	if c := b.Column(id); c != nil {
		return c.Int(row)
	}
	return 0
}

// cut shortens a text to at most n bytes without splitting a character.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return strings.Clone(s[:n])
}

// AppendKey appends bytes that differ whenever the row's value does; it serves
// as a part of a key within the process.
func AppendKey(dst []byte, b *block.Block, id event.ColumnID, row int) []byte {
	c := b.Column(id)
	switch {
	case c == nil:
	case c.Kind() == event.KindString || c.Kind() == event.KindKeyword:
		dst = append(dst, c.Bytes(row)...)
	case c.Kind() == event.KindIP || c.Kind() == event.KindUUID:
		dst = append(dst, c.Fixed()[row*16:row*16+16]...)
	default:
		dst = append(dst, value(b, id, row)...)
	}
	return append(dst, 0x1f)
}

// Time is the event time of a row, ms since 1970.
func Time(b *block.Block, row int) int64 { return number(b, event.Time, row) }
