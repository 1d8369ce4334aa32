// Package report writes what checks and tests of rules found: as text with the
// offending place underlined, as JSON, as GitHub annotations, as JUnit XML and
// as SARIF.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Severity says how bad a finding is.
type Severity string

// The severities; OK marks a case that passed.
const (
	OK      Severity = ""
	Notice  Severity = "notice"
	Warning Severity = "warning"
	Error   Severity = "error"
)

// Case is one thing that was looked at: a rule file, a test, or a problem in
// one.
type Case struct {
	File     string   // as it was given, with slashes
	Line     int      // from 1; 0: the file as a whole
	Column   int      // from 1, in characters; 0: the line as a whole
	Rule     string   // rule id, "" if unknown
	Name     string   // what was looked at
	Code     string   // what kind of finding, such as "never-matches"
	Severity Severity // OK if nothing is wrong
	Message  string
}

// Formats are the names that Write knows.
var Formats = []string{"text", "json", "github", "junit", "sarif"}

// Writer writes cases in one format.
type Writer struct {
	// Suite names the whole run, such as "vagus rules check".
	Suite string
	// Source returns a file's content, so that texts can show the place; nil
	// or an empty answer leaves it out.
	Source func(file string) []byte
}

// Write writes the cases in a format other than json, which every command has
// its own form of.
func (w Writer) Write(out io.Writer, format string, cases []Case) error {
	switch format {
	case "", "text":
		return w.text(out, cases)
	case "github":
		return github(out, cases)
	case "junit":
		return w.junit(out, cases)
	case "sarif":
		return w.sarif(out, cases)
	}
	return fmt.Errorf("format %s is unknown (one of %s)", format, strings.Join(Formats, ", "))
}

// Known reports whether the format has a name that Write or JSON knows.
func Known(format string) error {
	if slices.Contains(Formats, format) {
		return nil
	}
	return fmt.Errorf("format %s is unknown (one of %s)", format, strings.Join(Formats, ", "))
}

// JSON writes v indented.
func JSON(out io.Writer, v any) error {
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

func (w Writer) text(out io.Writer, cases []Case) error {
	lines := map[string][]string{}
	for _, c := range cases {
		if c.Severity == OK {
			continue
		}
		if _, err := fmt.Fprintf(out, "%s:%d:%d: %s: %s\n", Clean(c.File), max(c.Line, 1), max(c.Column, 1), c.Severity, CleanText(c.Message)); err != nil {
			return err
		}
		if w.Source == nil || c.Line < 1 {
			continue
		}
		if _, ok := lines[c.File]; !ok {
			lines[c.File] = strings.Split(string(w.Source(c.File)), "\n")
		}
		if l := lines[c.File]; c.Line <= len(l) {
			if _, err := io.WriteString(out, Excerpt(l[c.Line-1], c.Line, c.Column)); err != nil {
				return err
			}
		}
	}
	return nil
}

// github writes workflow commands, which GitHub shows at the line of the file.
// See https://docs.github.com/actions/reference/workflow-commands-for-github-actions.
func github(out io.Writer, cases []Case) error {
	data := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A")
	property := strings.NewReplacer("%", "%25", "\r", "%0D", "\n", "%0A", ":", "%3A", ",", "%2C")
	for _, c := range cases {
		if c.Severity == OK {
			continue
		}
		title := c.Name
		if c.Code != "" {
			title = c.Code
		}
		if _, err := fmt.Fprintf(out, "::%s file=%s,line=%d,col=%d,title=%s::%s\n", c.Severity, property.Replace(Clean(c.File)),
			max(c.Line, 1), max(c.Column, 1), property.Replace(Clean(title)), data.Replace(CleanText(c.Message))); err != nil {
			return err
		}
	}
	return nil
}
