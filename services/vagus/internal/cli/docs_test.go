package cli

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// docs is where the documents are, seen from this package.
const docs = "../../../../docs"

// fenced is a fenced block of a document.
type fenced struct {
	file    string
	line    int    // of its first line
	heading string // the last one before it
	lang    string // what stands behind the fence
	text    string // ends with a line feed
}

func (f fenced) String() string { return fmt.Sprintf("%s:%d", f.file, f.line) }

// blocks reads the fenced blocks of a document.
func blocks(t *testing.T, name string) []fenced {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	var out []fenced
	var in *fenced
	heading := ""
	for i, line := range strings.Split(string(data), "\n") {
		mark, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && in == nil:
			in = &fenced{file: filepath.Base(name), line: i + 2, heading: heading, lang: mark}
		case isFence:
			out, in = append(out, *in), nil
		case in != nil:
			in.text += line + "\n"
		case strings.HasPrefix(line, "#"):
			heading = strings.TrimLeft(line, "# ")
		}
	}
	if in != nil {
		t.Errorf("%s: the block is not closed", in)
	}
	return out
}

// runCommand runs a command of this program with a standard input and returns all that it
// printed.
func runCommand(t *testing.T, in string, args ...string) (string, error) {
	t.Helper()
	root := New("test")
	var out bytes.Buffer
	root.SetOut(&out)
	root.SetErr(&out)
	root.SetIn(strings.NewReader(in))
	root.SetArgs(args)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// words splits a command line as a shell does, as far as documents need it, into
// the commands of which it is made: pipes, lists and redirections end one.
func words(line string) [][]string {
	var out [][]string
	var args []string
	word, some, quote := "", false, rune(0)
	end := func() {
		if some {
			args = append(args, word)
		}
		word, some = "", false
	}
	for _, c := range line {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word += string(c)
		case c == '\'' || c == '"':
			quote, some = c, true
		case c == '#' && !some:
			return append(out, args)
		case strings.ContainsRune("|&;<>()", c):
			end()
			if len(args) > 0 {
				out, args = append(out, args), nil
			}
		case c == ' ':
			end()
		default:
			word, some = word+string(c), true
		}
	}
	end()
	return append(out, args)
}

// commandLines finds the lines in a text that run this program.
func commandLines(text string) (out [][]string) {
	text = strings.ReplaceAll(text, "\\\n", " ")
	for _, line := range strings.Split(text, "\n") {
		for _, args := range words(strings.TrimPrefix(strings.TrimSpace(line), "$ ")) {
			if len(args) > 1 && (args[0] == "vagus" || args[0] == "bin/vagus") {
				out = append(out, args[1:])
			}
		}
	}
	return out
}

// accepts says whether a command line names a command that is there, with flags
// and a number of arguments that it takes. Nothing is run.
func accepts(args []string) error {
	root := New("test")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	c, rest, err := root.Find(args)
	if err != nil {
		return err
	}
	c.InitDefaultHelpFlag()
	c.InitDefaultVersionFlag()
	if err := c.ParseFlags(rest); err != nil {
		return err
	}
	if c.Flags().Changed("help") || c.Flags().Changed("version") {
		return nil
	}
	left := c.Flags().Args()
	if c.HasSubCommands() && c.Args == nil && len(left) > 0 {
		return fmt.Errorf("unknown command %q for %q", left[0], c.CommandPath())
	}
	if err := c.ValidateArgs(left); err != nil {
		return err
	}
	if err := c.ValidateRequiredFlags(); err != nil {
		return err
	}
	return c.ValidateFlagGroups()
}

// What the documents and the help tell people to type is a command that is there,
// with flags that it has.
func TestCommandsThatPeopleAreTold(t *testing.T) {
	files, err := filepath.Glob(docs + "/*.md")
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, file := range append(files, docs+"/../README.md", docs+"/../CONTRIBUTING.md") {
		for _, b := range blocks(t, file) {
			for _, args := range commandLines(b.text) {
				told++
				if err := accepts(args); err != nil {
					t.Errorf("%s: vagus %s: %v", b, strings.Join(args, " "), err)
				}
			}
		}
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range quotedCommand.FindAllStringSubmatch(string(data), -1) {
			for _, args := range commandLines(m[1]) {
				told++
				if err := knows(args); err != nil {
					t.Errorf("%s: `%s`: %v", filepath.Base(file), m[1], err)
				}
			}
		}
	}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, args := range commandLines(c.Example) {
			told++
			if err := accepts(args); err != nil {
				t.Errorf("help of %s: vagus %s: %v", c.CommandPath(), strings.Join(args, " "), err)
			}
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(New("test"))
	if told < 200 {
		t.Errorf("only %d commands were found", told)
	}
}

var quotedCommand = regexp.MustCompile("`((?:bin/)?vagus [a-z][^`\n]*)`")

// knows is accepts for a command in running text, which may be cut short.
func knows(args []string) error {
	err := accepts(args)
	if err != nil && (strings.Contains(err.Error(), "arg(s)") || strings.Contains(err.Error(), "required flag") || strings.Contains(err.Error(), "flag needs an argument")) {
		return nil
	}
	return err
}

func TestWords(t *testing.T) {
	for line, want := range map[string]string{
		`vagus rules check rules   # in a workflow`: `[[vagus rules check rules]]`,
		`tail -1 x | vagus hunt 'a == "b c"' > y`:   `[[tail -1 x] [vagus hunt a == "b c"] [y]]`,
		`a && vagus sql "select 1"`:                 `[[a] [vagus sql select 1]]`,
	} {
		if got := fmt.Sprint(words(line)); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
	for _, bad := range []string{"rules chek", "rules check --formt text", "rules diff one", "alerts --since x"} {
		if accepts(strings.Fields(bad)) == nil {
			t.Errorf("vagus %s is taken", bad)
		}
	}
}
