package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
	"github.com/spf13/cobra"
)

// query streams the answer of a statement, as the read-only user.
func (a *app) query(ctx context.Context, sql, format string, params map[string]string, out io.Writer) error {
	s, err := a.state()
	if err != nil {
		return err
	}
	u, err := url.Parse(s.ClickHouseDSN)
	if err != nil {
		return errors.New("sql: the hub's DSN is not a URL")
	}
	password, _ := u.User.Password()
	q := url.Values{"default_format": {format}}
	if db := strings.Trim(u.Path, "/"); db != "" {
		q.Set("database", db)
	}
	for k, v := range params {
		q.Set("param_"+k, v)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+u.Host+"/?"+q.Encode(), strings.NewReader(sql))
	if err != nil {
		return err
	}
	req.SetBasicAuth(u.User.Username(), password)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("sql: %w (is the hub of %s still running?)", err, a.data)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
		return fmt.Errorf("sql: %s", strings.TrimSpace(string(text)))
	}
	_, err = io.Copy(out, resp.Body)
	return err
}

func (a *app) sqlCommand() *cobra.Command {
	var format string
	var asJSON bool
	c := &cobra.Command{
		Use: "sql [STATEMENT]", Short: "Ask ClickHouse, read-only; without a statement it is read from standard input", Args: cobra.MaximumNArgs(1),
		Example: "  vagus sql 'SELECT source, count() FROM events GROUP BY source'",
	}
	jsonFlag(c, &asJSON)
	c.Flags().StringVar(&format, "format", "", "ClickHouse output format (default: PrettyCompactMonoBlock on a terminal, TSVWithNames else)")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		sql := ""
		if len(args) == 1 {
			sql = args[0]
		} else {
			text, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), 1<<20))
			if err != nil {
				return err
			}
			sql = string(text)
		}
		switch {
		case asJSON:
			format = "JSONEachRow"
		case format == "" && isatty.IsTerminal(os.Stdout.Fd()):
			format = "PrettyCompactMonoBlock"
		case format == "":
			format = "TSVWithNames"
		}
		return a.query(cmd.Context(), sql, format, nil, cmd.OutOrStdout())
	}
	return c
}

// address shows an address as people write it: no mapped prefix, nothing if absent.
const address = "if(src_endpoint_ip = toIPv6('::'), '', replaceOne(toString(src_endpoint_ip), '::ffff:', ''))"

func (a *app) eventsCommand() *cobra.Command {
	var asJSON, asOCSF bool
	var source, family, where, uid string
	var since time.Duration
	var limit int
	c := &cobra.Command{
		Use: "events", Short: "List stored events, newest first", Args: cobra.NoArgs,
		Example: "  vagus events --source litellm.proxy --since 1h\n  vagus events --where \"src_endpoint_ip = toIPv6('203.0.113.7')\" --json\n  vagus events --uid 1b4e28ba-…",
	}
	jsonFlag(c, &asJSON)
	c.Flags().BoolVar(&asOCSF, "ocsf", false, "print OCSF, one JSON object a line")
	c.Flags().StringVar(&source, "source", "", "only this source")
	c.Flags().StringVar(&family, "family", "", "only this family: ai, api, host, network, identity, data")
	c.Flags().StringVar(&where, "where", "", "a ClickHouse condition over the columns (docs/reference/event.md)")
	c.Flags().StringVar(&uid, "uid", "", "one event, whole")
	agoFlag(c, &since, "how far back, by the time they were received")
	c.Flags().IntVar(&limit, "limit", 50, "how many at most")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := checkFamily(family); err != nil {
			return fmt.Errorf("events: %w", err)
		}
		table := "events"
		if family != "" {
			table = "events_" + family
		}
		conditions := []string{"received_at >= now64(3) - INTERVAL {since:UInt64} SECOND"}
		params := map[string]string{"since": fmt.Sprint(int64(since.Seconds())), "limit": fmt.Sprint(limit)}
		if uid != "" {
			conditions, params["uid"] = []string{"event_uid = {uid:UUID}"}, uid
		}
		if source != "" {
			conditions, params["source"] = append(conditions, "source = {source:String}"), source
		}
		if where != "" {
			conditions = append(conditions, "("+where+")")
		}
		columns, format := "time, source, activity_name AS activity, actor_user_name AS user, "+address+" AS client, multiIf(ai_model_name != '', concat(ai_model_name, ' ', substring(message_context_prompt_text, 1, 80)), process_cmd_line != '', substring(process_cmd_line, 1, 100), http_request_path != '', concat(http_request_method, ' ', http_request_path), concat(resource_type, ' ', resource_namespace, '/', resource_name)) AS what", "PrettyCompactMonoBlock"
		if table != "events" {
			columns = "time, source, activity_name AS activity, status_id AS status, actor_user_name AS user, " + address + " AS client, metadata_event_code AS code, status_code"
		}
		if asJSON || asOCSF || uid != "" {
			columns, format = "*", "JSONEachRow"
		}
		sql := "SELECT " + columns + " FROM " + table + " WHERE " + strings.Join(conditions, " AND ") + " ORDER BY time DESC LIMIT {limit:UInt32}"
		var rows bytes.Buffer
		out := counted{w: cmd.OutOrStdout()}
		if asOCSF {
			out.w = &rows
		}
		if err := a.query(cmd.Context(), sql, format, params, &out); err != nil {
			return err
		}
		switch {
		case out.n > 0 && asOCSF:
			return writeOCSF(cmd.OutOrStdout(), &rows)
		case out.n > 0:
			return nil
		case uid != "":
			return fmt.Errorf("events: none with the uid %s is stored", uid)
		case source != "":
			if err := a.unknownSource(cmd.Context(), source); err != nil {
				return fmt.Errorf("events: %w", err)
			}
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "no stored event fits that was received in the last %s (--since looks further back)\n", ago{&since})
		return nil
	}
	return c
}

// counted counts what is written.
type counted struct {
	w io.Writer
	n int
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += n
	return n, err
}
