package atr

import "github.com/vagus-hub/vagus/services/detect/internal/rule"

// nativeKeys are the keys that stand for another one of a native rule.
var nativeKeys = map[string]string{"severity": "level", "agent_source": "source", "detection": "when"}

// Locate implements rule.Format.
func (Format) Locate(data []byte, id string) []rule.Place {
	r := &reader{}
	root := r.parse(data)
	if root == nil || !root.mapping {
		return nil
	}
	c := newConverter(r, root)
	for _, key := range root.keys {
		path := key
		if native := nativeKeys[key]; native != "" {
			path = native
		}
		c.place(path, root.names[key], root.pairs[key])
	}
	if made := c.rule(); made == nil || made.ID != id {
		return nil
	}
	return c.places
}

// place notes where a part of the rule stands.
func (c *converter) place(path string, key, value *node) {
	c.places = append(c.places, rule.Place{Path: path, KeyLine: key.line, KeyColumn: key.column, Line: value.line, Column: value.column})
}

// comparison notes where a value of a condition stands that is compared with a
// column.
func (c *converter) comparison(column, text string, key, value *node) {
	c.place("when", key, value)
	last := &c.places[len(c.places)-1]
	last.Field, last.Text = column, text
}
