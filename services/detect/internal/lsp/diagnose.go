package lsp

import (
	"regexp"
	"time"

	"github.com/vagus-hub/vagus/services/detect/internal/atr"
	"github.com/vagus-hub/vagus/services/detect/internal/author/lint"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
)

var topKey = regexp.MustCompile(`(?m)^(id|when|correlate|alert|level|lane):`)

// isRule reports whether a file looks like a rule: YAML of other kinds is left
// alone.
func (d *document) isRule() bool {
	return len(topKey.FindAllString(d.text, 2)) > 1 && !d.isSigma()
}

// isSigma reports whether a file looks like one of Sigma's.
func (d *document) isSigma() bool {
	return sigma.Recognize([]byte(d.text)) && !atr.Recognize([]byte(d.text))
}

// diagnose loads and checks the text of a document.
func (s *Server) diagnose(d *document) []diagnostic {
	out := []diagnostic{}
	var rules []*rule.Rule
	var problems []rule.Problem
	switch {
	case d.isSigma():
		res := s.sigma.Check(rule.File{Name: s.fileName(d), Data: []byte(d.text)})
		rules, problems = res.Rules, res.Problems
	case atr.Recognize([]byte(d.text)):
		c := atr.Convert(d.name, []byte(d.text))
		if problems = c.Problems; c.Rule != nil {
			rules = []*rule.Rule{c.Rule}
		}
	case d.isRule():
		r, ps := rule.Load(d.name, []byte(d.text))
		if problems = ps; r != nil {
			rules = []*rule.Rule{r}
			problems = append(problems, rule.Link(rules, s.known()...)...)
		}
	default:
		return out
	}
	problems = append(problems, lint.Check(rules, lint.Options{
		Feeds: s.feeds(), Now: time.Now(), Source: func(string) []byte { return []byte(d.text) }, Formats: []rule.Format{atr.Format{}, sigma.Format{}},
	})...)
	for _, p := range problems {
		x := diagnostic{Range: d.span(p.Line, p.Column), Severity: 1, Code: p.Code, Source: "vagus", Message: p.Message}
		if p.Warning {
			x.Severity = 2
		}
		if out = append(out, x); len(out) >= maxDiagnostics {
			break
		}
	}
	return out
}

// maxDiagnostics bounds what one file gets.
const maxDiagnostics = 200

var suggestion = regexp.MustCompile(`(?:did you mean |: write |: here it is |superseded by )([A-Za-z0-9_.-]+[A-Za-z0-9_])`)

// actions are the quick fixes of problems that know better.
func actions(d *document, problems []diagnostic) []codeAction {
	out := []codeAction{}
	for _, p := range problems {
		m := suggestion.FindStringSubmatch(p.Message)
		if m == nil || p.Range.Start.Line != p.Range.End.Line {
			continue
		}
		l := d.line(p.Range.Start.Line)
		from, to := offset(l, p.Range.Start.Character), offset(l, p.Range.End.Character)
		text := m[1]
		if from < to && (l[from] == '"' || l[from] == '\'') {
			text = l[from:from+1] + text + l[from:from+1]
		}
		out = append(out, codeAction{
			Title: "Write " + m[1], Kind: "quickfix", Diagnostics: []diagnostic{p}, IsPreferred: true,
			Edit: workspaceEdit{map[string][]textEdit{d.uri: {{p.Range, text}}}},
		})
	}
	return out
}
