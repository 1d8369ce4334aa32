package wazuh

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Sample is one log of Wazuh's own tests of its rules, and the rule that it
// raises. Line is that of the log.
type Sample struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Name string `json:"name"`
	Rule int    `json:"rule"`
	Log  string `json:"log"`
}

// The bounds of a file of samples.
const (
	maxSampleFile = 8 << 20
	maxSamples    = 20_000
)

// Samples reads a file of ruleset/testing/tests: sections with the logs that a
// rule must tell of ("log 1 pass"). Those that it must not tell of say nothing
// of a hub that raises more than one rule an event, and are left out.
func Samples(name string, data []byte) ([]Sample, error) {
	if len(data) > maxSampleFile {
		return nil, fmt.Errorf("%s: %d bytes, at most %d are allowed", name, len(data), maxSampleFile)
	}
	var out, section []Sample
	rule, title, begun := 0, "", false
	more := false // an indented line goes on with the log before it
	done := func() {
		for _, s := range section {
			if s.Rule = rule; rule > 0 {
				out = append(out, s)
			}
		}
		section, rule = section[:0], 0
	}
	for n, line := range strings.Split(string(data), "\n") {
		indented := line != "" && (line[0] == ' ' || line[0] == '\t')
		line = strings.TrimSpace(line)
		switch {
		case line != "" && indented && begun:
			if more {
				section[len(section)-1].Log += "\n" + line
			}
			continue
		case line == "" || line[0] == ';' || line[0] == '#':
			continue
		case line[0] == '[' && line[len(line)-1] == ']':
			done()
			title, begun, more = line[1:len(line)-1], true, false
			continue
		case !begun:
			return out, fmt.Errorf("%s:%d: a section such as [name] must come first", name, n+1)
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue // a log that stands without its key, which the tests of Wazuh pass over too
		}
		value, more = strings.TrimSpace(value), false
		switch words := strings.Fields(key); {
		case len(words) == 1 && words[0] == "rule" && value == "": // no rule tells of the log
		case len(words) == 1 && words[0] == "rule":
			id, err := strconv.Atoi(value)
			if err != nil || id < 0 {
				return out, fmt.Errorf("%s:%d: rule %q is no number", name, n+1, clip(value))
			}
			rule = id
		case len(words) == 3 && words[0] == "log" && words[2] == "pass":
			section, more = append(section, Sample{File: name, Line: n + 1, Name: title, Log: value}), true
		}
		if len(out)+len(section) > maxSamples {
			return out, fmt.Errorf("%s: more than %d samples", name, maxSamples)
		}
	}
	done()
	return out, nil
}

// clip shortens a text for a message.
func clip(s string) string {
	if len(s) <= 60 {
		return s
	}
	n := 60
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
