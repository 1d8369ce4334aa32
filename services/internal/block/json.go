package block

import (
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
)

// AppendJSON writes a row as a flat JSON object by dotted path, in the order of
// the schema, without what is absent: what people and goldens see of an event.
// Times are RFC 3339 in UTC.
func (b *Block) AppendJSON(dst []byte, row int) []byte {
	dst = append(dst, '{')
	first := true
	for id, c := range b.present {
		if c == nil || c.Absent(row) {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, '"')
		dst = append(dst, event.Columns[id].Path...)
		dst = append(dst, '"', ':')
		dst = c.appendJSON(dst, row)
	}
	return append(dst, '}')
}

func (c *Column) appendJSON(dst []byte, row int) []byte {
	switch c.kind {
	case event.KindTime:
		return appendText(dst, time.UnixMilli(c.Int(row)).UTC().Format("2006-01-02T15:04:05.000Z"))
	case event.KindBool:
		return strconv.AppendBool(dst, c.Int(row) != 0)
	case event.KindF32, event.KindF64:
		f := c.Float(row)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return append(dst, "null"...)
		}
		bits := 64
		if c.kind == event.KindF32 {
			bits = 32
		}
		return strconv.AppendFloat(dst, f, 'g', -1, bits)
	case event.KindKeywords:
		from, to := c.List(row)
		dst = append(dst, '[')
		for i := from; i < to; i++ {
			if i > from {
				dst = append(dst, ',')
			}
			dst = appendText(dst, c.Dict().At(int(c.keys[i])))
		}
		return append(dst, ']')
	case event.KindScores:
		from, to := c.List(row)
		dst = append(dst, '{')
		for i := from; i < to; i++ {
			if i > from {
				dst = append(dst, ',')
			}
			dst = appendText(dst, c.Dict().At(int(c.keys[i])))
			dst = strconv.AppendFloat(append(dst, ':'), c.Score(i), 'g', -1, 32)
		}
		return append(dst, '}')
	}
	if c.kind.Number() {
		return strconv.AppendInt(dst, c.Int(row), 10)
	}
	return appendText(dst, c.Text(row))
}

// appendText leaves quoting to encoding/json: texts come from attackers.
func appendText(dst []byte, s string) []byte {
	q, err := json.Marshal(s)
	if err != nil {
		return append(dst, `""`...)
	}
	return append(dst, q...)
}
