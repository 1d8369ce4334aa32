package match

import (
	"bytes"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// FillEnv sets what an expression reads in an environment for the virtual
// machine. Texts are copied, since an environment may outlive its block.
func FillEnv(env map[string]any, b *block.Block, row int, e *lang.Expr) {
	for _, id := range e.Columns {
		col := &event.Columns[id]
		c := b.Column(id)
		if c == nil {
			env[col.Name] = lang.Zero(col.Kind)
			continue
		}
		switch k := col.Kind; {
		case k.Text():
			env[col.Name] = strings.Clone(c.Text(row))
		case k == event.KindF32 || k == event.KindF64:
			env[col.Name] = c.Float(row)
		case k.Number():
			env[col.Name] = int(c.Int(row))
		case k == event.KindBool:
			env[col.Name] = c.Int(row) != 0
		case k == event.KindKeywords:
			env[col.Name] = Texts(c, row)
		default:
			scores := map[string]float64{}
			for i, to := c.List(row); i < to; i++ {
				scores[string(bytes.Clone(c.Dict().Bytes(int(c.ListKeys()[i]))))] = c.Score(i)
			}
			env[col.Name] = scores
		}
	}
	if len(e.Keys) > 0 {
		keys := map[string]string{}
		eachUnmapped(b, row, func(key, value string) {
			if _, have := keys[key]; !have {
				keys[key] = value
			}
		})
		env[lang.EnvKeys] = keys
	}
	if e.AnyText {
		env[lang.EnvText] = EventTexts(b, row)
	}
}

// EventTexts copies the texts that event.text stands for.
func EventTexts(b *block.Block, row int) []string {
	var out []string
	add := func(v string) {
		if v != "" {
			out = append(out, v)
		}
	}
	for _, id := range textColumns {
		c := b.Column(id)
		if c == nil {
			continue
		}
		if c.Kind() != event.KindKeywords {
			add(strings.Clone(c.Text(row)))
			continue
		}
		for _, v := range Texts(c, row) {
			add(v)
		}
	}
	eachUnmapped(b, row, func(_, value string) { add(value) })
	return out
}

func eachUnmapped(b *block.Block, row int, f func(key, value string)) {
	c := b.Column(event.Unmapped)
	if c == nil {
		return
	}
	w := walker{data: c.Bytes(row)}
	for w.next() {
		f(string(appendText(nil, w.key)), string(appendText(nil, w.value)))
	}
}

// Texts copies the list in a row of a keywords column.
func Texts(c *block.Column, row int) []string {
	from, to := c.List(row)
	out := make([]string, 0, to-from)
	for ; from < to; from++ {
		out = append(out, strings.Clone(c.Dict().At(int(c.ListKeys()[from]))))
	}
	return out
}
