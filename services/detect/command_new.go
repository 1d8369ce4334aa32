package detect

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/detect/internal/author/sample"
	"github.com/vagus-hub/vagus/services/detect/internal/author/scaffold"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/ruletest"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// newOptions are the flags of new.
type newOptions struct {
	from      fromEvent
	correlate string
	out       string
	force     bool
}

func (a *author) newCommand() *cobra.Command {
	var o newOptions
	c := &cobra.Command{
		Use: "new DOMAIN.SLUG", Short: "Write a new rule with tests, from an event if there is one", Args: cobra.ExactArgs(1), SilenceUsage: true,
		Long: "Writes DIR/<domain>/<slug>.yml, a rule that passes its own tests, to be edited.\n" +
			"--from takes an event as explain --event does: the condition is made of what the event says, and the\n" +
			"tests of the event itself; addresses, people and keys in it are replaced. --source alone takes the\n" +
			"first of the source's own samples.",
		Example: "  vagus rules new ai-gateway.key-shared\n  vagus rules new ai-gateway.key-shared --from event.json --correlate value_count\n" +
			"  tail -1 access.log | vagus rules new web.odd-path --from - --source nginx.access\n" +
			"  vagus rules new windows.odd-parent --source microsoft.sysmon\n  vagus rules new ai-gateway.key-shared --out -   # print it",
	}
	c.Flags().StringVar(&o.from.event, "from", "", "a file of events or records, - for standard input, or the id of a stored event; the first is taken")
	c.Flags().StringVar(&o.from.source, "source", "", "the source of the records, or whose samples to begin with")
	c.Flags().StringVar(&o.correlate, "correlate", "", "correlate the matches: "+strings.Join(rule.Types, ", "))
	c.Flags().StringVar(&o.out, "out", "rules", "folder of <domain>/<slug>.yml; - prints the rule")
	c.Flags().BoolVar(&o.force, "force", false, "replace the file if it is there")
	c.RunE = func(c *cobra.Command, args []string) error { return a.create(c, o, args[0]) }
	return c
}

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]*\.[a-z0-9][a-z0-9-]*$`)

// created is what `rules new --json` prints.
type created struct {
	ID    string `json:"id"`
	File  string `json:"file"`
	Tests int    `json:"tests"`
}

func (a *author) create(c *cobra.Command, o newOptions, id string) error {
	if !idForm.MatchString(id) {
		return fmt.Errorf("new: id %s must be <domain>.<slug> in lower case letters, digits and hyphens", id)
	}
	opts := scaffold.Options{ID: id, Correlate: o.correlate}
	if o.from.event != "" || o.from.source != "" {
		e, err := a.firstEvent(c, o.from)
		if err != nil {
			return fmt.Errorf("new: %w", err)
		}
		opts.Event = e
	}
	text, err := scaffold.New(opts)
	if err != nil {
		return fmt.Errorf("new: %w", err)
	}
	if o.out == "-" {
		_, err := c.OutOrStdout().Write(text)
		return err
	}
	domain, slug, _ := strings.Cut(id, ".")
	name := filepath.Join(o.out, domain, slug+".yml")
	if _, err := os.Stat(name); err == nil && !o.force {
		return fmt.Errorf("new: %s is there already; --force replaces it", name)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(name, text, 0o644); err != nil {
		return err
	}
	return a.tryNew(c.OutOrStdout(), id, filepath.ToSlash(name), text)
}

// tryNew checks and tests a rule that was written, and says how to go on.
func (a *author) tryNew(w io.Writer, id, name string, text []byte) error {
	r, problems := rule.Load(name, text)
	for _, p := range problems {
		fmt.Fprintln(w, p)
	}
	if r == nil {
		return errProblems
	}
	opts, err := a.testing([]*rule.Rule{r})
	if err != nil {
		return err
	}
	for _, res := range ruletest.Run(r, opts) {
		if !res.OK {
			fmt.Fprintf(w, "%s:%d: FAIL %s: %s\n", res.File, res.Line, res.Test, res.Message)
		}
	}
	if a.json {
		return a.print(w, created{id, name, len(r.Tests)})
	}
	fmt.Fprintf(w, "wrote %s with %d tests\n\n  vagus rules check %s --watch   # while you edit it\n  vagus rules test %s\n", name, len(r.Tests), name, name)
	return nil
}

// errFirst ends reading after the first event.
var errFirst = errors.New("first")

func (a *author) firstEvent(c *cobra.Command, from fromEvent) (*rule.TestEvent, error) {
	var first *rule.TestEvent
	use := func(b *block.Block) error {
		e := sample.FromBlock(b, 0)
		first = &e
		return errFirst
	}
	var err error
	if from.event != "" {
		err = a.blocks(c, from, use)
	} else {
		err = a.sampled(from.source, use)
	}
	if err != nil && !errors.Is(err, errFirst) {
		return nil, err
	}
	if first == nil {
		return nil, errors.New("there is no event")
	}
	return first, nil
}

// sampled maps the samples of a built-in source, file by file.
func (a *author) sampled(source string, use func(*block.Block) error) error {
	if a.Normalize == nil {
		return errors.New("records cannot be mapped by this program: use vagus")
	}
	names, err := fs.Glob(sources.FS, path.Join(source, "testdata", "*.*"))
	if err != nil || len(names) == 0 {
		known, err := a.mapped()
		if err != nil {
			return err
		}
		return fmt.Errorf("there are no samples of the source %s%s (`vagus sources list` names those there are)", source, nearest(source, known))
	}
	var failed error
	for _, name := range names {
		data, err := fs.ReadFile(sources.FS, name)
		if err != nil {
			return err
		}
		if err := a.normalized(source, data, use); err == nil || errors.Is(err, errFirst) {
			return err
		} else if failed == nil {
			failed = err
		}
	}
	return failed
}
