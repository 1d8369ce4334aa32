package match

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
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
	s := finding.Signal{
		Rule: f.Rule.ID, Version: f.Rule.Version, Step: f.Step,
		Time: Time(b, row), Received: Received(b, row), Source: Source(b, row), Family: event.Family(b.Header.Family).String(),
	}
	if c := b.Column(event.EventUID); c != nil {
		s.EventUID = c.UUID(row)
	}
	s.GroupKey = joined(b, f.Group, row)
	if f.Numeric() {
		s.Number = float(b, f.Value[0], row)
	} else {
		s.Value = joined(b, f.Value, row)
	}
	s.Fields = make([]finding.Pair, len(f.Shown))
	for i, id := range f.Shown {
		s.Fields[i] = finding.Pair{Path: event.Columns[id].Path, Value: cut(value(b, id, row), maxShown)}
	}
	return s
}

// joined is the values of a row, separated by what no value has.
func joined(b *block.Block, fields []lang.Field, row int) string {
	if len(fields) == 0 {
		return ""
	}
	keys := make([]string, len(fields))
	for i, f := range fields {
		keys[i] = cut(strings.ReplaceAll(fieldValue(b, f, row), "\x1f", "\u241f"), maxGroup)
	}
	return strings.Join(keys, "\x1f")
}

// float is a number; a key of unmapped counts if it is a finite one.
func float(b *block.Block, f lang.Field, row int) float64 {
	if f.View == lang.Key {
		v, err := strconv.ParseFloat(string(appendUnmapped(nil, b, f.Key, row)), 64)
		if err != nil || math.IsNaN(v) {
			return 0
		}
		return v
	}
	c := b.Column(f.Col)
	if c == nil {
		return 0
	}
	if k := c.Kind(); k == event.KindF32 || k == event.KindF64 {
		return c.Float(row)
	}
	return float64(c.Int(row))
}

// fieldValue copies the value of a column, or of a key of unmapped, as text.
func fieldValue(b *block.Block, f lang.Field, row int) string {
	if f.View == lang.Key {
		return string(appendUnmapped(nil, b, f.Key, row))
	}
	return value(b, f.Col, row)
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
func AppendKey(dst []byte, b *block.Block, f lang.Field, row int) []byte {
	c := b.Column(f.Col)
	switch {
	case f.View == lang.Key:
		dst = appendUnmapped(dst, b, f.Key, row)
	case c == nil:
	case c.Kind() == event.KindString || c.Kind() == event.KindKeyword:
		dst = append(dst, c.Bytes(row)...)
	case c.Kind() == event.KindIP || c.Kind() == event.KindUUID:
		dst = append(dst, c.Fixed()[row*16:row*16+16]...)
	default:
		dst = append(dst, value(b, f.Col, row)...)
	}
	return append(dst, 0x1f)
}

// Time is the event time of a row, ms since 1970; if there is none, when it was
// received.
func Time(b *block.Block, row int) int64 {
	if t := number(b, event.Time, row); t != 0 {
		return t
	}
	return Received(b, row)
}

// Received is when a row was received, ms since 1970.
func Received(b *block.Block, row int) int64 {
	if t := number(b, event.ReceivedAt, row); t != 0 {
		return t
	}
	return b.Header.Received
}

// Source is the source of a row.
func Source(b *block.Block, row int) string {
	if s := value(b, event.Source, row); s != "" {
		return s
	}
	return b.Header.Source
}
