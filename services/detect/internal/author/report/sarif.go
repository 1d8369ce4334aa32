package report

import "io"

// sarif writes a log of SARIF 2.1.0 (OASIS), which code-scanning services read.
func (w Writer) sarif(out io.Writer, cases []Case) error {
	type object = map[string]any
	results := []object{}
	kinds := []object{}
	seen := map[string]bool{}
	for _, c := range cases {
		if c.Severity == OK {
			continue
		}
		level := string(c.Severity)
		if c.Severity == Notice {
			level = "note"
		}
		if code := c.Code; !seen[code] {
			seen[code] = true
			kinds = append(kinds, object{"id": code})
		}
		results = append(results, object{
			"ruleId": c.Code, "level": level, "message": object{"text": CleanText(c.Message)},
			"locations": []object{{"physicalLocation": object{
				"artifactLocation": object{"uri": Clean(c.File)},
				"region":           object{"startLine": max(c.Line, 1), "startColumn": max(c.Column, 1)},
			}}},
		})
	}
	return JSON(out, object{
		"version": "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"runs": []object{{
			"tool":    object{"driver": object{"name": w.Suite, "rules": kinds}},
			"results": results, "columnKind": "unicodeCodePoints",
		}},
	})
}
