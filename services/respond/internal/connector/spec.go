// Package connector speaks to the systems that playbooks act upon. A connector
// is a YAML file (how to authenticate, which operations there are, what they
// send and how success looks) on one HTTP engine, or Native code where HTTP
// does not serve.
package connector

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"path"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/respond/internal/lang"
	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Spec is one connector file.
type Spec struct {
	ID          string                `yaml:"id"`
	Title       string                `yaml:"title"`
	Description string                `yaml:"description"`
	Native      string                `yaml:"native"` // name of the Go implementation; no requests then
	Config      map[string]ConfigKey  `yaml:"config"`
	Auth        Auth                  `yaml:"auth"`
	Operations  map[string]*Operation `yaml:"operations"`
}

// ConfigKey is one setting an operator gives.
type ConfigKey struct {
	Description string `yaml:"description"`
	Required    bool   `yaml:"required"`
	Secret      bool   `yaml:"secret"` // must be a reference: env:NAME or file:/path
	Default     string `yaml:"default"`
}

// Auth says how requests are authenticated. Token, User and Secret name
// config keys.
type Auth struct {
	Type   string `yaml:"type"`   // none, bearer, basic, header, hmac
	Token  string `yaml:"token"`  // bearer, basic (password), header
	User   string `yaml:"user"`   // basic
	Header string `yaml:"header"` // header: its name
	Secret string `yaml:"secret"` // hmac
}

// Operation is one thing a connector can do.
type Operation struct {
	Title       string            `yaml:"title"`
	Description string            `yaml:"description"`
	Kind        string            `yaml:"kind"`        // block, limit, allow, isolate, notify, …; budgets count by it
	Destructive bool              `yaml:"destructive"` // takes something away from somebody
	Expires     bool              `yaml:"expires"`     // ends by itself at the undo time
	Params      map[string]*Param `yaml:"params"`
	Targets     map[string]string `yaml:"targets"` // entity type → param that names it; checked against protected values
	Undo        string            `yaml:"undo"`    // operation that takes it back; it gets the same params
	Requests    []*Request        `yaml:"requests"`
	Result      map[string]any    `yaml:"result"` // templates over {params, status, body}; default: status

	result *lang.Tree
}

// Param is one parameter of an operation.
type Param struct {
	Description string   `yaml:"description"`
	Type        string   `yaml:"type"` // string (default), number, boolean, object, any
	Required    bool     `yaml:"required"`
	Default     any      `yaml:"default"`
	Pattern     string   `yaml:"pattern"` // the whole value must match
	Enum        []string `yaml:"enum"`
	MaxLength   int      `yaml:"max_length"` // bytes; default 1024

	pattern *regexp.Regexp
}

// Request is one HTTP request.
type Request struct {
	Method      string            `yaml:"method"`
	Path        string            `yaml:"path"` // joined to the configured url; each segment is escaped
	Query       map[string]string `yaml:"query"`
	Headers     map[string]string `yaml:"headers"`
	ContentType string            `yaml:"content_type"` // default application/json
	Body        any               `yaml:"body"`
	Idempotency string            `yaml:"idempotency_header"` // default Idempotency-Key
	Success     Success           `yaml:"success"`
	Already     []int             `yaml:"already"` // statuses that mean: the effect is there already
	Retry       []int             `yaml:"retry"`   // further statuses worth another attempt
	Timeout     spec.Duration     `yaml:"timeout"` // default 30s, at most 5m

	segments []*lang.Text
	query    map[string]*lang.Text
	headers  map[string]*lang.Text
	body     *lang.Tree
	when     *lang.Expr
}

// Success tells whether an answer means that it was done.
type Success struct {
	Status []int  `yaml:"status"` // default 200 to 299
	When   string `yaml:"when"`   // expression over {params, status, body}
}

// env is what connector templates may use.
type env struct {
	Params map[string]any    `expr:"params"`
	Config map[string]string `expr:"config"` // without secrets
	Key    string            `expr:"key"`    // idempotency key
	Run    string            `expr:"run"`
	Step   string            `expr:"step"`
	Now    time.Time         `expr:"now"`
	Prior  map[string]any    `expr:"prior"` // when undoing: the result of what is undone
	Status int               `expr:"status"`
	Body   any               `expr:"body"`
}

var idRE = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)
var headerRE = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// Parse reads and checks one connector file.
func Parse(name string, text []byte) (*Spec, error) {
	s := &Spec{}
	f, err := spec.Parse(name, text, s)
	if err != nil {
		return nil, err
	}
	var errs []error
	bad := func(path, format string, args ...any) { errs = append(errs, f.Errorf(path, format, args...)) }
	if !idRE.MatchString(s.ID) {
		bad("id", "%q: want letters, digits and _, as in the file's name", s.ID)
	} else if want := strings.TrimSuffix(path.Base(name), path.Ext(name)); want != s.ID {
		bad("id", "%q differs from the file's name %q", s.ID, want)
	}
	if s.Title == "" {
		bad("title", "is missing")
	}
	if len(s.Operations) == 0 {
		bad("operations", "is empty")
	}
	checkAuth(s, bad)
	for _, op := range slices.Sorted(maps.Keys(s.Operations)) {
		at := "operations." + op
		if !idRE.MatchString(op) {
			bad(at, "name: want letters, digits and _")
		}
		if s.Operations[op] == nil {
			bad(at, "is empty")
			continue
		}
		checkOperation(s, s.Operations[op], at, bad)
	}
	return s, errors.Join(errs...)
}

func checkAuth(s *Spec, bad func(string, string, ...any)) {
	needs := map[string][]string{
		"": nil, "none": nil, "bearer": {s.Auth.Token}, "basic": {s.Auth.User, s.Auth.Token},
		"header": {s.Auth.Token}, "hmac": {s.Auth.Secret},
	}
	keys, ok := needs[s.Auth.Type]
	if !ok {
		bad("auth.type", "unknown %q%s", s.Auth.Type, spec.Suggest(s.Auth.Type, slices.Collect(maps.Keys(needs))))
	}
	for _, k := range keys {
		if _, ok := s.Config[k]; !ok {
			bad("auth", "names config key %q, which is not in config", k)
		}
	}
	if s.Auth.Type == "header" && !headerRE.MatchString(s.Auth.Header) {
		bad("auth.header", "is not a header name")
	}
	if s.Native == "" {
		if k, ok := s.Config["url"]; !ok || !k.Required {
			bad("config", "needs a required key url")
		}
	}
}

func checkOperation(s *Spec, op *Operation, at string, bad func(string, string, ...any)) {
	if op.Kind == "" || !idRE.MatchString(op.Kind) {
		bad(at+".kind", "%q: want a word such as block, isolate or notify", op.Kind)
	}
	if op.Undo != "" && s.Operations[op.Undo] == nil {
		bad(at+".undo", "unknown operation %q%s", op.Undo, spec.Suggest(op.Undo, slices.Collect(maps.Keys(s.Operations))))
	}
	if op.Destructive && op.Undo == "" && !op.Expires {
		bad(at, "is destructive and has neither undo nor expires")
	}
	for name, p := range op.Params {
		if p == nil {
			p = &Param{}
			op.Params[name] = p
		}
		where := at + ".params." + name
		switch p.Type {
		case "":
			p.Type = "string"
		case "string", "number", "boolean", "object", "any":
		default:
			bad(where+".type", "unknown %q%s", p.Type, spec.Suggest(p.Type, []string{"string", "number", "boolean", "object", "any"}))
		}
		if p.MaxLength == 0 {
			p.MaxLength = 1024
		}
		if p.Pattern != "" {
			var err error
			if p.pattern, err = regexp.Compile("^(?:" + p.Pattern + ")$"); err != nil {
				bad(where+".pattern", "%v", err)
			}
		}
	}
	for typ, param := range op.Targets {
		if op.Params[param] == nil {
			bad(at+".targets."+typ, "unknown parameter %q%s", param, spec.Suggest(param, slices.Collect(maps.Keys(op.Params))))
		}
	}
	if op.Destructive && len(op.Targets) == 0 && s.Native == "" {
		bad(at, "is destructive and names no targets, so protected values could not be checked")
	}
	if (s.Native == "") != (len(op.Requests) > 0) || len(op.Requests) > 5 {
		bad(at+".requests", "want 1 to 5 requests, or none in a native connector")
	}
	scope := lang.Scope{Env: env{}}
	var err error
	if op.Result != nil {
		if op.result, err = lang.ParseTree(map[string]any(op.Result), scope); err != nil {
			bad(at+".result", "%v", err)
		}
	}
	for i, r := range op.Requests {
		where := fmt.Sprintf("%s.requests[%d]", at, i)
		if r == nil {
			bad(where, "is empty")
			continue
		}
		r.compile(where, scope, bad)
	}
}

func (r *Request) compile(at string, scope lang.Scope, bad func(string, string, ...any)) {
	switch r.Method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		bad(at+".method", "%q: want GET, POST, PUT, PATCH or DELETE", r.Method)
	}
	if r.Idempotency == "" {
		r.Idempotency = "Idempotency-Key"
	}
	if r.ContentType == "" {
		r.ContentType = "application/json"
	}
	if r.Timeout == 0 {
		r.Timeout = spec.Duration(30 * time.Second)
	}
	if r.Timeout.Std() > 5*time.Minute {
		bad(at+".timeout", "at most 5m")
	}
	if r.Path != "" {
		if !strings.HasPrefix(r.Path, "/") {
			bad(at+".path", "%q: want it to start with /", r.Path)
		}
		for _, seg := range splitPath(r.Path) {
			t, err := lang.ParseText(seg, scope)
			if err != nil {
				bad(at+".path", "%v", err)
				return
			}
			r.segments = append(r.segments, t)
		}
	}
	texts := func(in map[string]string, what string) map[string]*lang.Text {
		out := map[string]*lang.Text{}
		for k, v := range in {
			if what == "headers" && !headerRE.MatchString(k) {
				bad(at+".headers", "%q is not a header name", k)
			}
			t, err := lang.ParseText(v, scope)
			if err != nil {
				bad(at+"."+what+"."+k, "%v", err)
				continue
			}
			out[k] = t
		}
		return out
	}
	r.query, r.headers = texts(r.Query, "query"), texts(r.Headers, "headers")
	var err error
	if r.Body != nil {
		if r.body, err = lang.ParseTree(r.Body, scope); err != nil {
			bad(at+".body", "%v", err)
		}
	}
	if r.Success.When != "" {
		if r.when, err = lang.Compile(r.Success.When, scope, true); err != nil {
			bad(at+".success.when", "%v", err)
		}
	}
}

// splitPath splits at slashes that are outside of {{ }}.
func splitPath(p string) []string {
	var out []string
	depth, from := 0, 1
	for i := 1; i < len(p); i++ {
		switch {
		case strings.HasPrefix(p[i:], "{{"):
			depth++
			i++
		case strings.HasPrefix(p[i:], "}}") && depth > 0:
			depth--
			i++
		case p[i] == '/' && depth == 0:
			out = append(out, p[from:i])
			from = i + 1
		}
	}
	return append(out, p[from:])
}
