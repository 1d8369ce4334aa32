package lint

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/detect/internal/atr"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/sigma"
)

const sigmaFile = `# Two documents.
title: First
id: 5f0c1c9e-0000-4000-8000-000000000001
status: test
level: high
tags: [cve.2026-0001, attack.t1110, attack.impact]
logsource: {category: process_creation, product: windows}
detection:
  s:
    Image|endswith: '\a.exe'
    CommandLine|contains:
      - abc
      - mercury
      - xabcx
  f:
    User: 'CORP\jane'
    CommandLine|contains: mercury
    EventID: 4688
  condition: s and not f
---
title: Second
id: 5f0c1c9e-0000-4000-8000-000000000002
status: test
level: high
logsource: {category: process_creation, product: windows}
detection:
  s:
    Image|endswith: '\b.exe'
    ParentImage: 'c:\c.exe'
  never:
    Image: 'c:\d.exe'
  condition: s and never
---
title: Third
id: 5f0c1c9e-0000-4000-8000-000000000003
status: test
level: high
logsource: {category: process_creation, product: windows}
detection:
  s: {Image|endswith: '\e.exe'}
  condition: s
---
title: Fourth
id: 5f0c1c9e-0000-4000-8000-000000000004
status: test
level: high
logsource: {category: process_creation, product: windows}
detection:
  s: {Image|endswith: '\e.exe', CommandLine|contains: abc}
  condition: s
`

const atrFile = `title: Says it twice
id: ATR-2026-99001
status: stable
description: An invented rule.
severity: high
references:
  mitre_attack: [T1059.001]
agent_source:
  type: mcp_exchange
detection:
  conditions:
    - {field: user_input, operator: contains, value: sesame}
    - {field: user_input, operator: contains, value: open sesame}
    - {field: user_input, operator: regex, value: '^.{4}$'}
  condition: any
`

// TestPlacesOfOtherFormats: remarks on rules of other formats stand where the
// value stands in their file.
func TestPlacesOfOtherFormats(t *testing.T) {
	formats := []rule.Format{atr.Format{}, sigma.Format{}}
	for name, tc := range map[string]struct {
		file, text string
		want       []string
	}{
		"sigma": {"s.yml", sigmaFile, []string{
			"tag s.yml:6:37: warning: tag attack.impact: attack.t1110 belongs to attack.credential-access, not to this tactic",
			"unfed s.yml:7:1: warning: no mapping is for the source microsoft.sysmon",
			`redundant s.yml:14:9: warning: process.cmd_line: "xabcx" says nothing beside "abc"`,
			`never-matches s.yml:31:12: error: condition can never be true: process.path ieq ["c:\\d.exe"] contradicts process.path isuffix ["\\b.exe"]`,
			"unfed s.yml:38:1: warning: no mapping is for the source microsoft.sysmon",
			"unfed s.yml:47:1: warning: no mapping is for the source microsoft.sysmon",
			"shadowed s.yml:48:1: warning: rule is covered by the more general sigma.5f0c1c9e-0000-4000-8000-000000000003 (s.yml), which alerts on all of its events",
		}},
		"atr": {"a.yml", atrFile, []string{
			`redundant a.yml:13:54: warning: message_context.prompt_text: "open sesame" says nothing beside "sesame"`,
			"cost a.yml:14:51: warning: pattern runs for nearly every event of the source: it holds no literal that is long enough to look for, so add one beside it",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			rules, problems := rule.LoadFiles([]rule.File{{Name: tc.file, Data: []byte(tc.text)}}, formats...)
			if rule.Failed(problems) {
				t.Fatal(problems)
			}
			var got []string
			opts := Options{Now: time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC), Source: func(string) []byte { return []byte(tc.text) }, Formats: formats}
			if name == "sigma" {
				opts.Feeds = feeds
			}
			for _, p := range Check(rules, opts) {
				got = append(got, p.Code+" "+p.String())
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
