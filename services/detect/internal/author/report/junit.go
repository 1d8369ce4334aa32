package report

import (
	"encoding/xml"
	"fmt"
	"io"
)

// The elements of JUnit XML as CI systems read them
// (https://github.com/testmoapp/junitxml describes the common form).
type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr,omitempty"`
	Line    int           `xml:"line,attr,omitempty"`
	Failure *junitFailure `xml:"failure,omitempty"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

// junit writes a suite for each file. Errors are failures; warnings pass and
// stand in the output of their case.
func (w Writer) junit(out io.Writer, cases []Case) error {
	all := junitSuites{Name: w.Suite}
	index := map[string]int{}
	for _, c := range cases {
		i, ok := index[c.File]
		if !ok {
			i = len(all.Suites)
			index[c.File] = i
			all.Suites = append(all.Suites, junitSuite{Name: Clean(c.File)})
		}
		s := &all.Suites[i]
		class := c.Rule
		if class == "" {
			class = c.File
		}
		name := c.Name
		if c.Severity != OK && c.Code != "" {
			name = fmt.Sprintf("%s:%d:%d %s", c.Code, c.Line, c.Column, c.Name)
		}
		jc := junitCase{Name: Clean(name), Class: Clean(class), File: Clean(c.File), Line: c.Line}
		text := fmt.Sprintf("%s:%d:%d: %s: %s", Clean(c.File), c.Line, c.Column, c.Severity, CleanText(c.Message))
		switch c.Severity {
		case Error:
			jc.Failure = &junitFailure{Message: Clean(c.Message), Type: c.Code, Text: text}
			s.Failures++
			all.Failures++
		case Warning, Notice:
			jc.Out = text
		}
		s.Tests++
		all.Tests++
		s.Cases = append(s.Cases, jc)
	}
	if _, err := io.WriteString(out, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(out)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(out, "\n")
	return err
}
