package detect

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/vagus-hub/vagus/services/detect/internal/author/derive"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// derivedTests says what tests imported rules have.
type derivedTests struct {
	// Both have a case that fires and one that nearly does, Some only the first.
	Both int `json:"both"`
	Some int `json:"some"`
	None int `json:"none"`
	// Missing lists the rules that lack one.
	Missing []missingTest `json:"missing"`
}

type missingTest struct {
	ID     string `json:"id"`
	Reason string `json:"reason"`
}

// natives writes imported rules as native files, with tests derived from each.
type natives struct {
	ctx     context.Context
	out     string
	force   bool
	known   []*rule.Rule // that correlations may name
	bar     *counter
	written int
	kept    []string // files that were there and differ
	tests   derivedTests
}

func newNatives(ctx context.Context, o importFlags, known []*rule.Rule, progress io.Writer, total int) *natives {
	return &natives{ctx: ctx, out: o.out, force: o.force, known: known, bar: newCounter(progress, "writing rules", total), tests: derivedTests{Missing: []missingTest{}}}
}

// write writes a rule; text is its file, without tests, if it is not to be made.
func (n *natives) write(r *rule.Rule, text []byte) error {
	if err := n.ctx.Err(); err != nil {
		return err
	}
	if text == nil {
		text = rule.Marshal(r)
	}
	own := *r
	var why string
	if own.Tests, why = derive.Tests(r, n.known); len(own.Tests) > 0 {
		text = append(bytes.TrimRight(text, "\n"), '\n')
		text = append(text, rule.MarshalTests(&own)...)
	}
	if why != "" {
		text = append(text, "# A test is missing: "+why+".\n"...)
	}
	n.bar.add(1)
	domain, slug, _ := strings.Cut(r.ID, ".")
	name := filepath.Join(n.out, domain, slug+".yml")
	if !n.force && differs(name, text) {
		n.kept = append(n.kept, name)
		return nil
	}
	switch {
	case why == "":
		n.tests.Both++
	case len(own.Tests) > 0:
		n.tests.Some++
	default:
		n.tests.None++
	}
	if why != "" {
		n.tests.Missing = append(n.tests.Missing, missingTest{r.ID, why})
	}
	if err := writeText(name, text); err != nil {
		return err
	}
	n.written++
	return nil
}

// report says in words what was written.
func (n *natives) report(w io.Writer, domain string) {
	n.bar.clear()
	for i, name := range n.kept {
		if i == 10 {
			fmt.Fprintf(w, "… %d more\n", len(n.kept)-i)
			break
		}
		fmt.Fprintf(w, "%s is there and differs: it is left as it is\n", name)
	}
	fmt.Fprintf(w, "%s written to %s\n", count(n.written, "rule"), filepath.Join(n.out, domain))
	if n.written == 0 {
		return
	}
	fmt.Fprintf(w, "%d have a test that fires and one that nearly does, %d only the first, %d none", n.tests.Both, n.tests.Some, n.tests.None)
	if len(n.tests.Missing) > 0 {
		fmt.Fprint(w, ": for these no event was found that fits, the file says so")
	}
	fmt.Fprintln(w)
}

func writeText(name string, data []byte) error {
	err := os.MkdirAll(filepath.Dir(name), 0o755)
	if err == nil {
		err = os.WriteFile(name, data, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write rule: %w", err)
	}
	return nil
}
