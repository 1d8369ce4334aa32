package cli

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/vagus/internal/config"
)

const tokensHead = "# The senders' tokens, as hashes. A running hub reads this file again when it changes.\n# `vagus token new|list|revoke` edits it and keeps no comments but these.\n"

// tokenCommand manages the tokens of senders.
func (a *app) tokenCommand() *cobra.Command {
	c := &cobra.Command{
		Use: "token", Short: "Make, list and revoke the tokens of senders",
		Long: "Makes, lists and revokes the tokens of senders. The file of tokens holds hashes only, and a\nrunning hub follows it within seconds. To change a sender's token without a gap, make a new\none, move the sender, then revoke the old one (or give it an end with --expires).",
	}
	t := &tokens{app: a}
	c.PersistentFlags().StringVar(&t.file, "file", "", "file of tokens (default <data>/tokens.yaml, or ingest.tokens_file of --config)")
	c.PersistentFlags().StringVar(&t.config, "config", "", "configuration file of the hub")
	c.AddCommand(t.newCommand(), t.listCommand(), t.revokeCommand())
	return c
}

type tokens struct {
	app          *app
	file, config string
}

// path is where the hub looks.
func (t *tokens) path(cmd *cobra.Command) (string, error) {
	if t.file != "" {
		return t.file, nil
	}
	cfg, err := config.Load(t.config)
	if err != nil {
		return "", err
	}
	if t.config == "" || cmd.Flags().Changed("data") {
		cfg.Data = t.app.data
	}
	return cfg.Tokens(), nil
}

func (t *tokens) newCommand() *cobra.Command {
	var name string
	var sources []string
	var expires time.Duration
	c := &cobra.Command{
		Use: "new", Short: "Make a token; it is printed once and never again", Args: cobra.NoArgs,
		Example: "  vagus token new --name edge --source nginx.access --source 'kong.*'\n  vagus token new --name shipper --source auto --expires 2160h",
		RunE: func(cmd *cobra.Command, _ []string) error {
			secret := "vgs_" + rand.Text()
			add := ingest.Token{Name: name, SHA256: ingest.HashToken(secret), Sources: sources}
			if expires > 0 {
				add.NotAfter = time.Now().Add(expires).UTC().Truncate(time.Second)
			}
			err := t.edit(cmd, func(list []ingest.Token) ([]ingest.Token, error) { return append(list, add), nil })
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), secret)
			return nil
		},
	}
	c.Flags().StringVar(&name, "name", "", "name of the sender, in logs and metrics")
	c.Flags().StringSliceVar(&sources, "source", nil, "source it may write to: an id, vendor.*, auto, or * for all; may be repeated")
	c.Flags().DurationVar(&expires, "expires", 0, "how long it is taken, such as 2160h (default: for ever)")
	_, _ = c.MarkFlagRequired("name"), c.MarkFlagRequired("source")
	return c
}

func (t *tokens) listCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use: "list", Short: "List the tokens of the file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path, err := t.path(cmd)
			if err != nil {
				return err
			}
			list, err := load(path)
			if err != nil {
				return err
			}
			type row struct {
				Name     string     `json:"name"`
				Sources  []string   `json:"sources"`
				NotAfter *time.Time `json:"not_after,omitempty"`
				Expired  bool       `json:"expired"`
			}
			rows := make([]row, 0, len(list))
			for _, tok := range list {
				r := row{Name: tok.Name, Sources: tok.Sources}
				if !tok.NotAfter.IsZero() {
					r.NotAfter, r.Expired = &tok.NotAfter, time.Now().After(tok.NotAfter)
				}
				rows = append(rows, r)
			}
			if asJSON {
				return printJSON(cmd.OutOrStdout(), rows)
			}
			out := newTable(cmd.OutOrStdout(), "NAME", "SOURCES", "UNTIL")
			for _, r := range rows {
				until := "for ever"
				if r.NotAfter != nil {
					until = r.NotAfter.Format(time.RFC3339)
				}
				if r.Expired {
					until += " (over)"
				}
				out.row(r.Name, strings.Join(r.Sources, ", "), until)
			}
			return out.flush()
		},
	}
	jsonFlag(c, &asJSON)
	return c
}

func (t *tokens) revokeCommand() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME", Short: "Take a token away, at once", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return t.edit(cmd, func(list []ingest.Token) ([]ingest.Token, error) {
				left := slices.DeleteFunc(slices.Clone(list), func(tok ingest.Token) bool { return tok.Name == args[0] })
				if len(left) == len(list) {
					return nil, fmt.Errorf("revoke token %s: there is none of that name (`vagus token list` shows them)", args[0])
				}
				return left, nil
			})
		},
	}
}

// edit changes the file as a whole: readers see the old or the new one.
func (t *tokens) edit(cmd *cobra.Command, change func([]ingest.Token) ([]ingest.Token, error)) error {
	path, err := t.path(cmd)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return fmt.Errorf("make the folder of tokens: %w", err)
	}
	next := path + ".new"
	// The new file is the lock, too: two edits at once would lose one.
	f, err := os.OpenFile(next, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("edit tokens: %s exists: another edit is under way, or was broken off (then remove it)", next)
	}
	if err != nil {
		return fmt.Errorf("edit tokens: %w", err)
	}
	defer func() { _ = os.Remove(next) }() // gone already if all went well
	err = func() error {
		list, err := load(path)
		if err != nil {
			return err
		}
		if list, err = change(list); err != nil {
			return err
		}
		text, err := yaml.Marshal(map[string][]ingest.Token{"tokens": list})
		if err != nil {
			return err
		}
		if _, err := f.WriteString(tokensHead + string(text)); err != nil {
			return err
		}
		return f.Sync()
	}()
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	if _, err := ingest.LoadTokens(next); err != nil {
		return fmt.Errorf("edit tokens: %w", err)
	}
	if err := os.Rename(next, path); err != nil {
		return fmt.Errorf("edit tokens: %w", err)
	}
	return nil
}

// load reads the file; one that does not exist is empty.
func load(path string) ([]ingest.Token, error) {
	list, err := ingest.LoadTokens(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}
