package sample

import (
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/match"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// FromBlock copies a row of a block: what it has, without its id.
func FromBlock(b *block.Block, row int) rule.TestEvent {
	e := rule.TestEvent{Repeat: 1, Family: event.Family(b.Header.Family)}
	for i := range event.Columns {
		col := &event.Columns[i]
		c := b.Column(col.ID)
		if c == nil || col.Kind == event.KindUUID || c.Absent(row) {
			continue
		}
		var v any
		switch k := col.Kind; {
		case k.Text():
			v = strings.Clone(c.Text(row))
		case k == event.KindF32 || k == event.KindF64:
			v = c.Float(row)
		case k == event.KindBool:
			v = c.Int(row) != 0
		case k == event.KindKeywords:
			v = match.Texts(c, row)
		case k == event.KindScores:
			scores := map[string]float64{}
			for j, to := c.List(row); j < to; j++ {
				scores[strings.Clone(c.Dict().At(int(c.ListKeys()[j])))] = c.Score(j)
			}
			v = scores
		default:
			v = c.Int(row)
		}
		e.Fields = append(e.Fields, rule.TestField{Column: col, Value: v})
	}
	return e
}
