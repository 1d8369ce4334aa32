package detect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// errProblems ends a command whose output has said what is wrong.
var errProblems = errors.New("rules have problems")

// Command returns `rules`, the commands for authors. Each has a file of its own.
func Command(opts CommandOptions) *cobra.Command {
	a := &author{CommandOptions: opts}
	cmd := &cobra.Command{
		Use: "rules", Short: "Write, check, test, explain and list detection rules",
		Example: "  vagus rules new ai-gateway.key-shared --from event.json --out rules\n  vagus rules check rules --watch\n  vagus rules test rules --coverage\n  vagus rules explain ai-gateway.key-shared --event event.json",
	}
	cmd.PersistentFlags().BoolVar(&a.json, "json", false, "print JSON")
	cmd.AddCommand(
		a.newCommand(),
		a.checkCommand(),
		a.testCommand(),
		a.listCommand(),
		a.importCommand(),
		a.regressCommand(),
		a.equivCommand(),
		a.explainCommand(),
		a.docCommand(),
		a.benchCommand(),
		a.backtestCommand(),
		a.diffCommand(),
		a.tuneCommand(),
	)
	return cmd
}

// author is what the commands share.
type author struct {
	CommandOptions
	json bool
}

// load reads the paths, or the built-in rules if there are none, and links
// what they say of one another and of the built-in rules.
func (a *author) load(paths []string) ([]*rule.Rule, []rule.Problem, error) {
	rules, problems, err := a.read(paths)
	if err != nil {
		return nil, nil, err
	}
	var known []*rule.Rule
	if len(paths) > 0 && a.Content != nil {
		if known, _, err = a.read(nil); err != nil {
			return nil, nil, err
		}
	}
	return rules, append(problems, rule.Link(rules, known...)...), nil
}

func (a *author) read(paths []string) ([]*rule.Rule, []rule.Problem, error) {
	if len(paths) == 0 {
		if a.Content == nil {
			return nil, nil, errors.New("rules: no path given and no built-in rules")
		}
		return rule.LoadFS(a.Content, contentRoot(a.Content), "", formats()...)
	}
	var rules []*rule.Rule
	var problems []rule.Problem
	var files []rule.File
	for _, p := range paths {
		info, err := os.Stat(p)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil, fmt.Errorf("%s: no such file or directory (ids of rules are taken by explain, bench, backtest, diff and tune)", p)
		}
		if err != nil {
			return nil, nil, err
		}
		if info.IsDir() {
			rs, ps, err := rule.LoadFS(os.DirFS(p), ".", filepath.ToSlash(filepath.Clean(p))+"/", formats()...)
			if err != nil {
				return nil, nil, err
			}
			rules, problems = append(rules, rs...), append(problems, ps...)
			continue
		}
		data, err := readFile(p)
		if err != nil {
			return nil, nil, err
		}
		files = append(files, rule.File{Name: filepath.ToSlash(filepath.Clean(p)), Data: data})
	}
	rs, ps := rule.LoadFiles(files, formats()...)
	rules, problems = once(append(rules, rs...), append(problems, ps...))
	return rules, problems, nil
}

// once leaves out files that were read twice, as paths may overlap. Two rules of
// different files with one id are a problem: the hub would run one of them.
func once(rules []*rule.Rule, problems []rule.Problem) ([]*rule.Rule, []rule.Problem) {
	said := map[rule.Problem]bool{}
	problems = slices.DeleteFunc(problems, func(p rule.Problem) bool {
		again := said[p]
		said[p] = true
		return again
	})
	files := map[string]string{}
	rules = slices.DeleteFunc(rules, func(r *rule.Rule) bool {
		first, there := files[r.ID]
		switch {
		case !there:
			files[r.ID] = r.File
		case first != r.File:
			problems = append(problems, rule.Problem{File: r.File, Line: 1, Column: 1, Message: fmt.Sprintf("id %s is taken by %s", r.ID, first)})
		}
		return there
	})
	return rules, problems
}

// some is an error if paths that were named hold no rules: who checks or tests a
// folder that is not the one that was meant must not be told that all is well.
func some(paths []string, rules []*rule.Rule, problems []rule.Problem) error {
	if len(paths) == 0 || len(rules) > 0 || len(problems) > 0 {
		return nil
	}
	return fmt.Errorf("there are no rules in %s: a rule is a file <domain>/<slug>.yml", strings.Join(paths, ", "))
}

// count is a number with the noun that it counts.
func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// readFile reads a rule file that was named, which may be a pipe: <(git show …).
// One that nobody writes into is empty: to wait for a writer, nothing could end.
func readFile(name string) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := rule.Read(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return data, nil
}

// named finds rules by id among those that known lists (builtIn, live), and those
// of files. An argument is an id, a file or a folder.
func (a *author) named(args []string, known func() ([]*rule.Rule, error)) ([]*rule.Rule, error) {
	if len(args) == 0 {
		return nil, errors.New("which rule? give an id or a path")
	}
	var rules []*rule.Rule
	for _, arg := range args {
		var rs []*rule.Rule
		var problems []rule.Problem
		info, err := os.Stat(arg)
		file := err == nil
		switch {
		case file && info.IsDir():
			rs, problems, err = a.load([]string{arg})
		case file:
			rs, problems, err = a.version(arg)
		default:
			rs, err = known()
		}
		if err != nil {
			return nil, err
		}
		if !file {
			ids := make([]string, len(rs))
			for i, r := range rs {
				ids[i] = r.ID
			}
			rs = slices.DeleteFunc(slices.Clone(rs), func(r *rule.Rule) bool { return r.ID != arg })
			if len(rs) == 0 {
				return nil, fmt.Errorf("%s is neither a file nor the id of a rule that is known%s", arg, nearest(arg, ids))
			}
		}
		if len(rs) == 0 {
			lines := []string{arg + " holds no sound rule"}
			for _, p := range problems {
				lines = append(lines, p.String())
			}
			return nil, errors.New(strings.Join(lines, "\n"))
		}
		rules = append(rules, rs...)
	}
	return rules, nil
}

// version reads a file that is one version of a rule, such as /tmp/old.yml: unlike
// a folder of rules it may be called anything.
func (a *author) version(name string) ([]*rule.Rule, []rule.Problem, error) {
	data, err := readFile(name)
	if err != nil {
		return nil, nil, err
	}
	var known []*rule.Rule
	if a.Content != nil {
		if known, _, err = a.read(nil); err != nil {
			return nil, nil, err
		}
	}
	// A name without a folder is not compared with the id.
	rules, problems := rule.LoadFiles([]rule.File{{Name: filepath.Base(name), Data: data}}, formats()...)
	problems = append(problems, rule.Link(rules, known...)...)
	for _, r := range rules {
		r.File = filepath.ToSlash(name)
		if r.Correlate == nil {
			continue
		}
		for _, s := range r.Correlate.Steps {
			if s.Rule != nil {
				s.Rule.File = r.File
			}
		}
	}
	for i := range problems {
		problems[i].File = filepath.ToSlash(name)
	}
	return rules, problems, nil
}

// source returns the content of a file that load read, nil if it is gone, as what
// came out of a pipe is.
func (a *author) source(name string) []byte {
	if dir, file := filepath.Split(filepath.FromSlash(name)); file != "" {
		if data, err := rule.ReadFile(os.DirFS(cmp.Or(dir, ".")), file); err == nil {
			return data
		}
	}
	if a.Content != nil {
		if data, err := fs.ReadFile(a.Content, name); err == nil {
			return data
		}
	}
	return nil
}

func (a *author) print(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
