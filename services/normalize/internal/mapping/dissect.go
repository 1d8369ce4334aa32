package mapping

import (
	"bytes"
	"fmt"
	"strings"
)

// dissector cuts a line at literal separators, as Logstash's dissect does:
// %{name} takes everything up to the next literal. It needs no regular
// expression, so that a hostile line costs no more than any other.
type dissector struct {
	literals [][]byte // before each name, and after the last
	names    []string
	slots    []int
}

func newDissector(pattern string) (dissector, error) {
	var d dissector
	rest := pattern
	for {
		open := strings.Index(rest, "%{")
		if open < 0 {
			d.literals = append(d.literals, []byte(rest))
			break
		}
		end := strings.IndexByte(rest[open:], '}')
		if end < 3 {
			return d, fmt.Errorf("pattern %q: %%{name} is not closed or has no name", pattern)
		}
		if len(d.names) > 0 && open == 0 {
			return d, fmt.Errorf("pattern %q: two names need a separator between them", pattern)
		}
		d.literals = append(d.literals, []byte(rest[:open]))
		d.names = append(d.names, rest[open+2:open+end])
		rest = rest[open+end+1:]
	}
	if len(d.names) == 0 {
		return d, fmt.Errorf("pattern %q has no %%{name}", pattern)
	}
	return d, nil
}

// cut stores the parts of line; false if the line does not fit.
func (d *dissector) cut(line []byte, set func(slot int, part []byte)) bool {
	if !bytes.HasPrefix(line, d.literals[0]) {
		return false
	}
	line = line[len(d.literals[0]):]
	for i, s := range d.slots {
		next := d.literals[i+1]
		end := len(line)
		if i == len(d.slots)-1 {
			if !bytes.HasSuffix(line, next) {
				return false
			}
			end -= len(next)
		} else if end = bytes.Index(line, next); end < 0 {
			return false
		}
		set(s, line[:end])
		line = line[min(end+len(next), len(line)):]
	}
	return true
}
