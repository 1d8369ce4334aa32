package normalize

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

// maxSample bounds the records that a new source gets as its sample.
const maxSample = 100

var sourceName = regexp.MustCompile(`^[a-z0-9_]+\.[a-z0-9_]+$`)

func newCommand(dir *string) *cobra.Command {
	var from string
	c := &cobra.Command{
		Use: "new NAME", Short: "Begin a mapping from sample records, with columns suggested by the fields' names", Args: cobra.ExactArgs(1),
		Long:    "Writes NAME/mapping.yaml, README.md and testdata in the folder --dir (default: sources). The mapping\nis sound as it is: fields whose names are known have a column, the others stand in comments.",
		Example: "  vagus sources new acme.gateway --from /var/log/gateway.log --dir sources",
	}
	c.Flags().StringVar(&from, "from", "", "file with sample records (- for standard input)")
	_ = c.MarkFlagRequired("from")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		name := args[0]
		if !sourceName.MatchString(name) {
			return fmt.Errorf("new source: %q is not <vendor>.<product> in lower case", name)
		}
		base := *dir
		if base == "" {
			base = "sources"
		}
		folder := filepath.Join(base, name)
		if _, err := os.Stat(folder); err == nil {
			return fmt.Errorf("new source: %s exists", folder)
		}
		data, err := readInput(cmd, from)
		if err != nil {
			return err
		}
		records := mapping.Records(data, mapping.Framing{})
		if len(records) == 0 {
			return fmt.Errorf("new source: %s holds no record", from)
		}
		records = records[:min(len(records), maxSample)]
		if err := writeSource(folder, name, records); err != nil {
			return fmt.Errorf("new source: %w", err)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\nnext:  look through mapping.yaml, then\n  vagus sources --dir %s check\n  vagus sources --dir %s explain %s %s\n  vagus sources --dir %s test --update\n",
			folder, base, base, name, from, base)
		return nil
	}
	return c
}

func writeSource(folder, name string, records [][]byte) error {
	s := mapping.Look(records)
	sample := "sample.log"
	if s.Format == "json" {
		sample = "sample.ndjson"
	}
	files := map[string][]byte{
		"mapping.yaml":       skeleton(name, &s),
		"README.md":          []byte(fmt.Sprintf("# %s\n\nHow to send these logs: point the product at the hub's address for `%s`, or post a file:\n\n```\nvagus send %s FILE\n```\n", name, name, name)),
		"testdata/" + sample: append(bytes.Join(records, []byte("\n")), '\n'),
	}
	for file, data := range files {
		path := filepath.Join(folder, filepath.FromSlash(file))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// skeleton writes a mapping that is sound: what is not sure is a comment.
func skeleton(name string, s *mapping.Survey) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# What this is and who writes it.\nsource: %s\ntitle: %s\norigin: recorded\nformat: %s\n", name, name, s.Format)
	switch s.Format {
	case "text":
		b.WriteString("lines:\n  - '%{line}' # cut it into fields: '%{time} %{level} %{message}', or {regexp: '(?P<time>…)'}\n")
		b.WriteString("# detect:\n#   - {line: {prefix: …}} # what only this source's lines have\n")
	case "zeek":
		b.WriteString("framing: {header: \"#\"}\n")
	}
	if common := s.Common(); len(common) > 0 {
		b.WriteString("detect: # what every record has and no other source's; fewer and surer is better\n  - {")
		for i, f := range common[:min(len(common), 3)] {
			if i > 0 {
				b.WriteString(", ")
			}
			fmt.Fprintf(&b, "%s: {exists: true}", quote(f.Path))
		}
		b.WriteString("}\n")
	}
	class, _ := event.ClassByName("api_activity")
	placed := map[string]string{}
	var times, fields, left bytes.Buffer
	for _, f := range s.Fields {
		if format := timeFormat(f); format != "" {
			fmt.Fprintf(&times, "  - {path: %s, format: %s}\n", quote(f.Path), format)
			continue
		}
		col, ok := columnFor(f.Path)
		if ok && col.Families.Has(class.Family) && placed[col.Path] == "" {
			placed[col.Path] = f.Path
			fmt.Fprintf(&fields, "  %s: %s # %s\n", col.Path, quote(f.Path), example(f))
			continue
		}
		hint := ""
		if ok {
			hint = " -> " + col.Path
			if !col.Families.Has(class.Family) {
				hint += " (of other classes)"
			}
		}
		fmt.Fprintf(&left, "  # %s%s: %s\n", f.Path, hint, example(f))
	}
	if times.Len() > 0 {
		fmt.Fprintf(&b, "time:\n%s", times.Bytes())
	}
	b.WriteString("classes: # see schemas/event/event.yaml; one with `when: {field: value}` for each kind of record\n  - class: api_activity\n    activity: Other\n")
	if fields.Len() > 0 {
		fmt.Fprintf(&b, "fields:\n%s", fields.Bytes())
	}
	if left.Len() > 0 {
		fmt.Fprintf(&b, "  # Not placed:\n%s", left.Bytes())
	}
	return b.Bytes()
}

func quote(path string) string {
	if strings.ContainsAny(path, `"[]{}@*&!#: `) {
		return "'" + strings.ReplaceAll(path, "'", "''") + "'"
	}
	return path
}

func example(f mapping.Field) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, f.Example)
}

// timeFormat tells how a field that is named like one writes the time of the
// event.
func timeFormat(f mapping.Field) string {
	name := strings.ToLower(f.Path[strings.LastIndexByte(f.Path, '.')+1:])
	if name != "ts" && name != "date" && name != "datetime" && !strings.Contains(name, "time") || strings.Contains(name, "zone") || strings.Contains(name, "request_time") {
		return ""
	}
	if n, err := strconv.ParseFloat(f.Example, 64); err == nil {
		switch {
		case n > 1e17:
			return "unix_ns"
		case n > 1e14:
			return "unix_us"
		case n > 1e11:
			return "unix_ms"
		case n > 1e8:
			return "unix_s"
		}
		return ""
	}
	if len(f.Example) >= 20 && f.Example[4] == '-' && f.Example[10] == 'T' {
		return "rfc3339"
	}
	if name == "timestamp" && strings.HasPrefix(f.Path, "syslog.") {
		return "syslog"
	}
	return ""
}

// columnFor suggests a column for a field by its name: that of the schema, of
// OCSF, OpenTelemetry or ECS, or a usual one.
func columnFor(path string) (event.Column, bool) {
	plain := simple(path)
	for _, c := range event.Columns {
		for _, known := range []string{c.Path, c.OCSF, c.OTel, c.ECS} {
			if known != "" && simple(known) == plain {
				return c, settable(c.ID)
			}
		}
	}
	last := simple(path[strings.LastIndexByte(path, '.')+1:])
	for _, u := range usual {
		for _, name := range strings.Fields(u.names) {
			if name == plain || name == last {
				c, ok := event.ByPath(u.column)
				if !ok {
					return event.Column{}, false
				}
				return *c, true
			}
		}
	}
	return event.Column{}, false
}

func settable(id event.ColumnID) bool {
	switch id {
	case event.EventUID, event.Time, event.TimeQuality, event.ReceivedAt, event.Source, event.ClassUID, event.ActivityID, event.SeverityID, event.Unmapped:
		return false
	}
	return true
}

// simple leaves lower-case letters and digits of a name.
func simple(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		}
		return -1
	}, s)
}

// usual lists names that logs use for a column.
var usual = []struct{ column, names string }{
	{"actor.user.name", "user username login account principal actor suser usrname remoteuser"},
	{"actor.user.uid", "userid uid actorid"},
	{"actor.user.email_addr", "email useremail mail"},
	{"src_endpoint.ip", "srcip sourceip clientip remoteaddr remoteip src ip sourceaddress ipaddress callerip"},
	{"src_endpoint.port", "srcport sourceport spt clientport"},
	{"dst_endpoint.ip", "dstip destip destinationip dst serverip"},
	{"dst_endpoint.port", "dstport destport destinationport dpt"},
	{"device.hostname", "host hostname computer node dvchost devname"},
	{"http_request.method", "method requestmethod httpmethod verb"},
	{"http_request.path", "path uri urlpath requestpath"},
	{"http_request.user_agent", "useragent httpuseragent ua requestclientapplication"},
	{"http_response.code", "status statuscode httpstatus responsecode code"},
	{"metadata.correlation_uid", "requestid traceid correlationid xrequestid"},
	{"metadata.original_uid", "id eventid uuid"},
	{"metadata.event_code", "event eventtype eventname type operation"},
	{"message", "message msg text"},
	{"duration", "duration durationms latencyms elapsedms"},
	{"ai_model.name", "model modelname modelid requestmodel"},
	{"ai_model.ai_provider", "provider"},
	{"message_context.prompt_tokens", "prompttokens inputtokens"},
	{"message_context.completion_tokens", "completiontokens outputtokens"},
	{"message_context.total_tokens", "totaltokens"},
	{"message_context.prompt_text", "prompt input"},
	{"message_context.response_text", "completion output response"},
	{"ai.cost", "cost responsecost"},
	{"service.name", "service servicename app"},
}
