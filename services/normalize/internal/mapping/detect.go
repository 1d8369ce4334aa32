package mapping

import "fmt"

// alternative is one way to recognise a record of a source: all its conditions
// must hold.
type alternative struct {
	line  []test // on the text as it is
	paths []pathTest
}

type pathTest struct {
	segments []segment
	test     test
}

// mark says that a place holds a list of attributes or embedded JSON.
type mark struct {
	segments []segment
	keyValue bool
}

// conditions is how many the alternative has: the more, the surer.
func (a *alternative) conditions() int { return len(a.line) + len(a.paths) }

// detect compiles the alternatives. In formats other than json, `line` is the
// whole text.
func (c *compiler) detect(f *file) {
	for _, cs := range f.Detect {
		var a alternative
		for _, cond := range cs {
			if cond.path.value == "line" && c.m.format != formatJSON {
				a.line = append(a.line, cond.test)
				continue
			}
			segments, err := c.parse(cond.path)
			if err != nil {
				c.fail(err)
				continue
			}
			a.paths = append(a.paths, pathTest{segments, cond.test})
		}
		positive := len(a.line) > 0
		for i := range a.paths {
			positive = positive || a.paths[i].test.positive()
		}
		if !positive {
			c.fail(fmt.Errorf("detect: an alternative needs a condition that only a value can meet (a value, exists, prefix, contains …)"))
		}
		if len(a.line) > 0 && len(a.paths) > 0 && (c.m.format == formatText || c.m.format == formatAuto) {
			c.fail(fmt.Errorf("detect: in the formats text and auto, line and paths cannot be met by the same record; write two alternatives"))
		}
		c.m.detect = append(c.m.detect, a)
	}
	for _, p := range f.KeyValues {
		if segments, err := c.parse(p); err == nil {
			c.m.marks = append(c.m.marks, mark{segments, true})
		}
	}
	for _, p := range f.Embedded {
		if segments, err := c.parse(p); err == nil {
			c.m.marks = append(c.m.marks, mark{segments, false})
		}
	}
}
