//go:build linux || darwin

package chhttp

import (
	"net/http"
	"sort"
	"strings"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chdb"
)

// arguments is what the URL and the headers ask for.
type arguments struct {
	query    string
	database string
	format   string
	params   []chdb.Param
	settings map[string]string
	setup    []string // statements that prepare the session
	raw      map[string]string
}

// reserved are parameters that are not settings of the engine.
var reserved = map[string]bool{
	"query": true, "database": true, "default_format": true, "user": true, "password": true,
	"quota_key": true, "query_id": true, "session_id": true, "session_timeout": true, "session_check": true,
	"compress": true, "decompress": true, "client_protocol_version": true, "buffer_size": true,
	"wait_end_of_query": true, "stacktrace": true, "role": true, "enable_http_compression": true,
	"add_http_cors_header": true, "log_comment": true, "close_session": true, "http_zlib_compression_level": true,
}

func parseArguments(r *http.Request) (arguments, error) {
	a := arguments{format: "TabSeparated", settings: map[string]string{}, raw: map[string]string{}}
	q := queryOf(r)
	if len(q) > maxParams {
		return a, exceptionf(codeBadArgument, "BAD_ARGUMENTS", "more than %d parameters", maxParams)
	}
	a.query = q.Get("query")
	a.database = first(r.Header.Get("X-ClickHouse-Database"), q.Get("database"))
	a.format = first(r.Header.Get("X-ClickHouse-Format"), q.Get("default_format"), a.format)
	names := make([]string, 0, len(q))
	for name := range q {
		names = append(names, name)
	}
	sort.Strings(names)
	var sets []string
	multi := strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/form-data")
	for _, name := range names {
		v := q.Get(name)
		a.raw[name] = v
		if p, ok := strings.CutPrefix(name, "param_"); ok {
			a.params = append(a.params, chdb.Param{Name: p, Value: v})
			continue
		}
		if reserved[name] {
			continue
		}
		if multi && (strings.HasSuffix(name, "_structure") || strings.HasSuffix(name, "_format") || strings.HasSuffix(name, "_types")) {
			continue // of an external table
		}
		if !identifier(name) {
			return a, exceptionf(codeBadSetting, "UNKNOWN_SETTING", "Setting %s is neither a builtin setting nor started with the prefix", printable(name))
		}
		a.settings[name] = v
		sets = append(sets, name+" = "+literal(v))
	}
	if a.database != "" && a.database != "default" { // a new session is in default
		a.setup = append(a.setup, "USE "+quoteName(a.database))
	}
	if len(sets) > 0 {
		a.setup = append(a.setup, "SET "+strings.Join(sets, ", "))
	}
	return a, nil
}

// flag reports whether a parameter is on.
func (a arguments) flag(name string) bool { return a.raw[name] == "1" || a.raw[name] == "true" }

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

func identifier(s string) bool {
	for i, c := range []byte(s) {
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c != '.' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != "" && len(s) <= 128
}

var escapes = strings.NewReplacer(`\`, `\\`, `'`, `\'`, "`", "\\`", "\x00", `\0`)

func literal(s string) string   { return "'" + escapes.Replace(s) + "'" }
func quoteName(s string) string { return "`" + escapes.Replace(s) + "`" }
