package detect

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/author/pages"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

func (a *author) docCommand() *cobra.Command {
	var out string
	var navigator bool
	c := &cobra.Command{
		Use: "doc [PATH…]", Short: "Write a page for each rule and an index with what they cover", SilenceUsage: true,
		Long: "Writes Markdown: README.md with all rules and the techniques of MITRE ATLAS and ATT&CK, the OWASP\n" +
			"and the NIST ids that they cover, and a page for each rule. Without --out the index is printed.\n" +
			"--navigator writes a layer for the ATT&CK Navigator instead.",
		Example: "  vagus rules doc --out docs/rules\n  vagus rules doc rules --navigator > layer.json\n  vagus rules doc --json | jq '.attack[].id'",
	}
	c.Flags().StringVar(&out, "out", "", "folder to write to")
	c.Flags().BoolVar(&navigator, "navigator", false, "an ATT&CK Navigator layer (JSON)")
	c.RunE = func(c *cobra.Command, args []string) error {
		rules, problems, err := a.load(args)
		if err != nil {
			return err
		}
		if rule.Failed(problems) {
			for _, p := range problems {
				fmt.Fprintln(c.ErrOrStderr(), p)
			}
		}
		return a.doc(c.OutOrStdout(), rules, out, navigator)
	}
	return c
}

func (a *author) doc(w io.Writer, rules []*rule.Rule, out string, navigator bool) error {
	switch {
	case navigator && a.json:
		return errors.New("doc: --navigator is JSON already")
	case navigator:
		layer, err := pages.Navigator(rules)
		if err != nil {
			return err
		}
		if out == "" {
			_, err = fmt.Fprintf(w, "%s\n", layer)
			return err
		}
		return a.writeDoc(w, out, map[string]string{"navigator.json": string(layer) + "\n"})
	case a.json && out == "":
		return a.print(w, pages.Coverage(rules))
	case out == "":
		_, err := io.WriteString(w, pages.Index(rules))
		return err
	}
	files := map[string]string{"README.md": pages.Index(rules)}
	for _, r := range rules {
		files[pages.File(r.ID)] = pages.Rule(r)
	}
	return a.writeDoc(w, out, files)
}

// writeDoc writes files that differ from what is there.
func (a *author) writeDoc(w io.Writer, dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	written := 0
	for name, text := range files {
		p := filepath.Join(dir, filepath.Base(name)) // ids have no slashes; be sure
		if old, err := os.ReadFile(p); err == nil && bytes.Equal(old, []byte(text)) {
			continue
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			return err
		}
		written++
	}
	if a.json {
		return a.print(w, map[string]any{"dir": dir, "files": len(files), "written": written})
	}
	_, err := fmt.Fprintf(w, "%s: %d files, %d changed\n", dir, len(files), written)
	return err
}
