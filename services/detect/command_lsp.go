package detect

import (
	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/detect/internal/lsp"
)

// LanguageServer returns `lsp`, which editors start.
func LanguageServer(opts CommandOptions) *cobra.Command {
	c := &cobra.Command{
		Use: "lsp", Short: "Serve the Language Server Protocol for rules to an editor", Args: cobra.NoArgs, SilenceUsage: true,
		Long: "Serves the Language Server Protocol 3.17 over standard input and output: problems while you type,\n" +
			"completion, hover, outline and quick fixes in rules. docs/editors.md shows how to set up VS Code,\n" +
			"Neovim, Helix and others.",
		Example: "  vagus lsp   # as the command of a language server in the editor's settings",
	}
	c.Flags().Bool("stdio", true, "taken for editors that insist on it")
	c.RunE = func(c *cobra.Command, _ []string) error {
		o := lsp.Options{Version: c.Root().Version}
		if opts.Content != nil {
			a := author{CommandOptions: opts}
			rules, _, err := a.read(nil)
			if err != nil {
				return err
			}
			o.Rules = rules
		}
		if opts.Feeds != nil {
			feeds, err := opts.Feeds()
			if err != nil {
				return err
			}
			o.Feeds = feeds
		}
		return lsp.Serve(c.Context(), c.InOrStdin(), c.OutOrStdout(), o)
	}
	return c
}
