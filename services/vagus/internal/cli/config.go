package cli

import (
	"fmt"
	"net/url"
	"os"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/vagus/internal/config"
	"github.com/vagus-hub/vagus/services/vagus/internal/instance"
)

func configCommand() *cobra.Command {
	c := &cobra.Command{Use: "config", Short: "Check a configuration file"}
	c.AddCommand(&cobra.Command{
		Use: "check [FILE]", Short: "Check a configuration file; errors have line and column", Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				if err := config.Parse("defaults", nil, &config.Config{}); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), "the defaults are sound; name a file to check it")
				return nil
			}
			if _, err := config.Load(args[0]); err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is sound\n", args[0])
			return nil
		},
	})
	return c
}

func makeSecrets(data string) (instance.Secrets, error) {
	if err := os.MkdirAll(data, 0o700); err != nil {
		return instance.Secrets{}, err
	}
	return instance.LoadSecrets(data)
}

// clickhouseURL is a DSN without its credentials.
func clickhouseURL(dsn string) string {
	u, err := url.Parse(dsn)
	if err != nil {
		return "(hidden)"
	}
	return "http://" + u.Host
}
