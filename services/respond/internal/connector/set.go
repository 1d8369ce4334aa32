package connector

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Call is one action to be done.
type Call struct {
	Connector, Operation string
	Params               map[string]any // as Check returned them
	Key                  string         // idempotency key: the same on every attempt
	Run, Step            string
	Playbook, Alert      string
	Reason               string         // why, for people
	Undo                 bool           // this call takes an earlier one back
	Prior                map[string]any // with Undo: the earlier one's result
	ExpiresAt            time.Time      // when it will be taken back; zero: not automatically
}

// Result is what an action gave.
type Result struct {
	Data   map[string]any    // for later steps
	Detail map[string]string // for the audit log; no secrets
}

// Native does the operations of a connector in Go. Do must be idempotent by
// Call.Key. An error is permanent unless it is an *Error with Retry.
type Native interface {
	Do(ctx context.Context, c Call) (Result, error)
}

// Error is a failed action.
type Error struct {
	Retry  bool              // another attempt may help
	After  time.Duration     // not before; 0: as the caller likes
	Detail map[string]string // what was sent and answered
	Err    error
}

// Error gives the cause.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func permanent(format string, args ...any) error { return &Error{Err: fmt.Errorf(format, args...)} }

// Options configures a Set.
type Options struct {
	// Specs are the connectors there are.
	Specs []*Spec
	// Config holds the operator's settings by connector id. Besides the keys
	// of the connector it may have allow_networks (comma-separated CIDRs which
	// may be reached although private) and ca (file: with a PEM bundle).
	Config map[string]map[string]string
	// Natives are the Go implementations by name. A native connector without
	// required settings is always configured.
	Natives map[string]Native
	// Transport replaces the guarded HTTP client; only for tests.
	Transport http.RoundTripper
	// Now is the clock.
	Now func() time.Time
}

// Set holds the connectors. Safe for concurrent use.
type Set struct {
	specs map[string]*Spec
	live  map[string]*instance
	now   func() time.Time
}

// instance is a configured connector.
type instance struct {
	spec    *Spec
	native  Native
	base    *url.URL
	plain   map[string]string // settings that are no secrets
	secrets map[string]string // references
	http    http.RoundTripper
}

// New checks the settings. A connector without settings is known but not
// configured.
func New(o Options) (*Set, error) {
	s := &Set{specs: map[string]*Spec{}, live: map[string]*instance{}, now: o.Now}
	for _, sp := range o.Specs {
		if s.specs[sp.ID] != nil {
			return nil, fmt.Errorf("connector %s: defined twice", sp.ID)
		}
		s.specs[sp.ID] = sp
	}
	var errs []error
	for id := range o.Config {
		if s.specs[id] == nil {
			errs = append(errs, fmt.Errorf("connectors.%s: unknown connector%s", id, spec.Suggest(id, slices.Collect(maps.Keys(s.specs)))))
		}
	}
	for id, sp := range s.specs {
		conf, given := o.Config[id]
		if !given && sp.Native == "" {
			continue
		}
		in, err := configure(sp, conf, o)
		if err != nil {
			errs = append(errs, fmt.Errorf("connectors.%s: %w", id, err))
			continue
		}
		if in != nil {
			s.live[id] = in
		}
	}
	return s, errors.Join(errs...)
}

func configure(sp *Spec, conf map[string]string, o Options) (*instance, error) {
	in := &instance{spec: sp, plain: map[string]string{}, secrets: map[string]string{}}
	if sp.Native != "" {
		if in.native = o.Natives[sp.Native]; in.native == nil {
			return nil, nil
		}
	}
	known := append(slices.Collect(maps.Keys(sp.Config)), "allow_networks", "ca")
	for k := range conf {
		if !slices.Contains(known, k) {
			return nil, fmt.Errorf("unknown key %q%s", k, spec.Suggest(k, known))
		}
	}
	for k, key := range sp.Config {
		v := conf[k]
		if v == "" {
			v = key.Default
		}
		switch {
		case v == "" && key.Required:
			return nil, fmt.Errorf("%s is missing (%s)", k, key.Description)
		case v == "":
		case key.Secret:
			if !isRef(v) {
				return nil, fmt.Errorf("%s is a secret: give a reference, env:NAME or file:/path", k)
			}
			in.secrets[k] = v
		default:
			in.plain[k] = v
		}
	}
	if sp.Native != "" {
		return in, nil
	}
	// A url may hold a secret itself, as those of chat services do.
	raw, err := Resolve(conf["url"])
	if err != nil {
		return nil, fmt.Errorf("url: %w", err)
	}
	if in.base, err = url.Parse(raw); err != nil || in.base.Host == "" || in.base.Scheme != "http" && in.base.Scheme != "https" || in.base.User != nil {
		return nil, errors.New("url: want http(s)://host[:port][/path] without user and password")
	}
	if isRef(conf["url"]) {
		delete(in.plain, "url")
	}
	if o.Transport != nil {
		in.http = o.Transport
		return in, nil
	}
	var allow []netip.Prefix
	for _, c := range strings.FieldsFunc(conf["allow_networks"], func(r rune) bool { return r == ',' || r == ' ' }) {
		p, err := netip.ParsePrefix(c)
		if err != nil {
			return nil, fmt.Errorf("allow_networks: %q is not a CIDR range such as 10.1.0.0/16", c)
		}
		allow = append(allow, p.Masked())
	}
	var pool *x509.CertPool
	if ca := conf["ca"]; ca != "" {
		pem, err := Resolve(ca)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		pool = x509.NewCertPool()
		if !pool.AppendCertsFromPEM([]byte(pem)) {
			return nil, errors.New("ca: no PEM certificate in it")
		}
	}
	in.http = guarded(allow, pool)
	return in, nil
}

func isRef(v string) bool { return strings.HasPrefix(v, "env:") || strings.HasPrefix(v, "file:") }

// Resolve gives the value behind env:NAME or file:/path, or v itself.
func Resolve(v string) (string, error) {
	if name, ok := strings.CutPrefix(v, "env:"); ok {
		s, ok := os.LookupEnv(name)
		if !ok || s == "" {
			return "", fmt.Errorf("environment variable %s is not set", name)
		}
		return s, nil
	}
	if file, ok := strings.CutPrefix(v, "file:"); ok {
		b, err := os.ReadFile(file)
		if err != nil {
			return "", err
		}
		if len(b) > 64<<10 {
			return "", fmt.Errorf("%s: %d bytes, at most 64 KiB", file, len(b))
		}
		return strings.TrimRight(string(b), "\r\n"), nil
	}
	return v, nil
}

// Names lists every connector.operation, sorted.
func (s *Set) Names() []string {
	var out []string
	for id, sp := range s.specs {
		for op := range sp.Operations {
			out = append(out, id+"."+op)
		}
	}
	slices.Sort(out)
	return out
}

// Operation finds "connector.operation".
func (s *Set) Operation(name string) (*Operation, bool) {
	id, op, _ := strings.Cut(name, ".")
	sp := s.specs[id]
	if sp == nil || sp.Operations[op] == nil {
		return nil, false
	}
	return sp.Operations[op], true
}

// Configured reports whether the connector of "connector.operation" can act.
func (s *Set) Configured(name string) bool {
	id, _, _ := strings.Cut(name, ".")
	return s.live[id] != nil
}

// Close frees idle connections.
func (s *Set) Close() {
	for _, in := range s.live {
		if t, ok := in.http.(*http.Transport); ok {
			t.CloseIdleConnections()
		}
	}
}

// Do performs a call. Errors are *Error.
func (s *Set) Do(ctx context.Context, c Call) (Result, error) {
	in := s.live[c.Connector]
	if in == nil {
		return Result{}, permanent("connector %s is not configured", c.Connector)
	}
	op := in.spec.Operations[c.Operation]
	if op == nil {
		return Result{}, permanent("connector %s has no operation %s", c.Connector, c.Operation)
	}
	if in.native != nil {
		res, err := in.native.Do(ctx, c)
		var ce *Error
		if err != nil && !errors.As(err, &ce) {
			err = &Error{Err: err}
		}
		return res, err
	}
	return in.send(ctx, op, c, s.now())
}
