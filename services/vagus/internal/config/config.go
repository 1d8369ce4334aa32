// Package config is the configuration file of the all-in-one binary. Every key
// is optional; unknown keys and bad values are errors with line and column.
// Secrets are given by reference: env:NAME or file:PATH.
package config

import (
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/vagus-hub/vagus/services/detect"
	"github.com/vagus-hub/vagus/services/ingest"
	"github.com/vagus-hub/vagus/services/normalize"
)

// Config is vagus.yml.
type Config struct {
	Data       string     `yaml:"data"` // folder of everything that is kept
	Log        Log        `yaml:"log"`
	Bus        Bus        `yaml:"bus"`
	Edge       Edge       `yaml:"edge"` // of `vagus edge` only
	ClickHouse ClickHouse `yaml:"clickhouse"`
	Ingest     Ingest     `yaml:"ingest"`
	Normalize  Normalize  `yaml:"normalize"`
	Detect     Detect     `yaml:"detect"`
	Respond    Respond    `yaml:"respond"`
	Store      Store      `yaml:"store"`
}

// Log is how the process logs.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn, error
	Format string `yaml:"format"` // text or json
}

// Bus names an outside NATS server, or where the embedded one listens.
type Bus struct {
	URL      string `yaml:"url"`       // nats://…: use that server instead of the embedded one
	Token    Secret `yaml:"token"`     // its token
	Addr     string `yaml:"addr"`      // of the embedded server; default 127.0.0.1 and a free port
	MaxBytes int64  `yaml:"max_bytes"` // of all streams; default 20 GiB or what the disk allows
	Leaf     Leaf   `yaml:"leaf"`      // where edges connect

	Producers []Producer `yaml:"producers"` // who may publish to the embedded server
}

// ClickHouse names an outside server, or where the embedded engine listens.
type ClickHouse struct {
	DSN       Secret `yaml:"dsn"`
	Addr      string `yaml:"addr"`       // of the embedded engine
	MaxMemory int64  `yaml:"max_memory"` // of the embedded engine, bytes
}

// Ingest is the way in.
type Ingest struct {
	Addr       string                 `yaml:"addr"`
	TLS        ingest.TLS             `yaml:"tls"`
	Insecure   bool                   `yaml:"insecure"` // no TLS although addr is not loopback
	Tokens     []ingest.Token         `yaml:"tokens"`
	TokensFile string                 `yaml:"tokens_file"` // default <data>/tokens.yaml
	Clients    []ingest.Client        `yaml:"clients"`     // of client certificates
	Hooks      map[string]ingest.Hook `yaml:"hooks"`       // signed webhooks
	HEC        ingest.HEC             `yaml:"hec"`         // Splunk's HTTP Event Collector
	Bulk       ingest.Bulk            `yaml:"bulk"`        // Elasticsearch's _bulk
	OTLP       ingest.OTLP            `yaml:"otlp"`        // OpenTelemetry
	Syslog     []ingest.Syslog        `yaml:"syslog"`      // listeners
	Tail       []ingest.Tail          `yaml:"tail"`        // files that are followed
	Pull       []ingest.Pull          `yaml:"pull"`        // buckets and APIs that are pulled
	NATS       ingest.NATS            `yaml:"nats"`        // producers on the bus; enabled by bus.producers
}

// Tokens is the file of tokens that can be changed while the hub runs.
func (c *Config) Tokens() string {
	if c.Ingest.TokensFile != "" {
		return c.Ingest.TokensFile
	}
	return filepath.Join(c.Data, "tokens.yaml")
}

// Normalize names a folder of mappings, and what is added to events after them.
type Normalize struct {
	Sources string           `yaml:"sources"`
	Enrich  normalize.Enrich `yaml:"enrich"`
}

// Detect names a folder of more rules; one with the id of a built-in rule
// replaces it.
type Detect struct {
	Rules   string         `yaml:"rules"`
	Silence detect.Silence `yaml:"silence"` // sources that stop sending
	Budget  detect.Budget  `yaml:"budget"`  // what one rule may cost
	// Correlation bounds what correlation keeps in memory.
	Correlation detect.Limits `yaml:"correlation"`
	// Inhibit mutes alerts while others fire.
	Inhibit []detect.Inhibition `yaml:"inhibit"`
}

// Respond is the playbook engine and its API.
type Respond struct {
	Addr         string                       `yaml:"addr"`
	Token        Secret                       `yaml:"token"` // of the API
	Playbooks    string                       `yaml:"playbooks"`
	AuthNetworks []string                     `yaml:"auth_networks"`
	Connectors   map[string]map[string]string `yaml:"connectors"`
	Vars         map[string]map[string]string `yaml:"vars"`
	Budgets      map[string]Budget            `yaml:"budgets"`
	Protected    []string                     `yaml:"protected"`
}

// Budget bounds automatic actions of a kind.
type Budget struct {
	Max    int      `yaml:"max"`
	Window Duration `yaml:"window"`
}

// Duration is a time.Duration whose mistakes have a position.
type Duration time.Duration

// UnmarshalYAML reads a text such as 10m.
func (d *Duration) UnmarshalYAML(node ast.Node) error {
	v, err := time.ParseDuration(node.GetToken().Value)
	if err != nil || v <= 0 {
		return mistake(node, "want a duration such as 10m, not %q", node.GetToken().Value)
	}
	*d = Duration(v)
	return nil
}

// Store is how long things are kept, in days.
type Store struct {
	EventsDays int `yaml:"events_days"`
	RawDays    int `yaml:"raw_days"`
}

// Secret is a reference to a secret, or the secret itself; it never prints.
type Secret string

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return "(hidden)"
}

// Value follows the reference.
func (s Secret) Value() (string, error) {
	switch v := string(s); {
	case strings.HasPrefix(v, "env:"):
		out, ok := os.LookupEnv(v[4:])
		if !ok {
			return "", fmt.Errorf("secret %s: the variable is not set", v)
		}
		return out, nil
	case strings.HasPrefix(v, "file:"):
		out, err := os.ReadFile(v[5:])
		if err != nil {
			return "", fmt.Errorf("secret: %w", err)
		}
		return strings.TrimSpace(string(out)), nil
	default:
		return v, nil
	}
}

// Default is a single node on loopback.
func Default() Config {
	return Config{
		Data:    DefaultData(),
		Log:     Log{Level: "info", Format: "text"},
		Ingest:  Ingest{Addr: "127.0.0.1:8480"},
		Detect:  Detect{Budget: detect.DefaultBudget(), Correlation: detect.DefaultLimits()},
		Respond: Respond{Addr: "127.0.0.1:8481"},
		ClickHouse: ClickHouse{
			Addr: "127.0.0.1:8123",
		},
		Store: Store{EventsDays: 90, RawDays: 14},
	}
}

// DefaultData is VAGUS_DATA or a folder of the user's.
func DefaultData() string {
	if d := os.Getenv("VAGUS_DATA"); d != "" {
		return d
	}
	if d := os.Getenv("XDG_DATA_HOME"); d != "" {
		return filepath.Join(d, "vagus")
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return ".vagus"
	}
	return filepath.Join(home, ".local", "share", "vagus")
}

// Load reads a file over the defaults; an empty path gives the defaults.
func Load(path string) (Config, error) {
	c := Default()
	if path == "" {
		return c, nil
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return c, fmt.Errorf("read config: %w", err)
	}
	return c, Parse(path, data, &c)
}

// Parse reads a file's text into c.
func Parse(name string, data []byte, c *Config) error {
	if len(strings.TrimSpace(string(data))) == 0 {
		return nil
	}
	if err := yaml.UnmarshalWithOptions(data, c, yaml.Strict()); err != nil {
		return fmt.Errorf("config %s: %w", name, placed(data, err))
	}
	if err := c.check(data); err != nil {
		return fmt.Errorf("config %s: %w", name, err)
	}
	return nil
}

// check finds what is well formed and yet wrong.
func (c *Config) check(data []byte) error {
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		return err
	}
	at := func(path, format string, args ...any) error {
		p, err := yaml.PathString("$." + path)
		if err != nil {
			return fmt.Errorf(path+": "+format, args...)
		}
		node, err := p.FilterFile(file)
		if err != nil { // not in the file
			return fmt.Errorf(path+": "+format, args...)
		}
		return mistake(node, path+": "+format, args...)
	}
	// below is at with an error that may begin with the key that it is about.
	below := func(path string, err error) error {
		key := strings.TrimRight(strings.SplitN(err.Error(), " ", 2)[0], ":")
		if p, bad := yaml.PathString("$." + path + "." + key); bad == nil {
			if node, gone := p.FilterFile(file); gone == nil {
				return mistake(node, "%s: %s", path, err)
			}
		}
		return at(path, "%s", err)
	}
	for field, days := range map[string]int{"store.events_days": c.Store.EventsDays, "store.raw_days": c.Store.RawDays} {
		if days < 1 || days > 3650 {
			return at(field, "%d days; want 1 to 3650", days)
		}
	}
	if !slices.Contains([]string{"", "debug", "info", "warn", "error"}, strings.ToLower(c.Log.Level)) {
		return at("log.level", "%q is none of debug, info, warn, error", c.Log.Level)
	}
	if !slices.Contains([]string{"", "text", "json"}, c.Log.Format) {
		return at("log.format", "%q is neither text nor json", c.Log.Format)
	}
	if c.Bus.URL == "" && c.Bus.Token != "" {
		return at("bus.token", "is for an outside server, but bus.url is empty")
	}
	if c.Bus.URL != "" && c.Bus.Leaf.Addr != "" {
		return at("bus.leaf", "is for the embedded server, but bus.url names another")
	}
	if err := c.Bus.Leaf.check(); err != nil {
		return below("bus.leaf", err)
	}
	for i, p := range c.Bus.Producers {
		if err := p.check(); err != nil {
			return below(fmt.Sprintf("bus.producers[%d]", i), err)
		}
	}
	if c.Bus.URL != "" && len(c.Bus.Producers) > 0 {
		return at("bus.producers", "is for the embedded server, but bus.url names another")
	}
	for i, t := range c.Ingest.Tokens {
		path := fmt.Sprintf("ingest.tokens[%d]", i)
		if sum, err := hex.DecodeString(t.SHA256); err != nil || len(sum) != 32 {
			return at(path+".sha256", "want 64 hex digits; `printf %%s SECRET | sha256sum` makes them")
		}
		if t.Name == "" || len(t.Sources) == 0 {
			return at(path, "name and sources are needed")
		}
	}
	if err := c.Normalize.Enrich.Check(); err != nil {
		return below("normalize.enrich", err)
	}
	for i := range c.Detect.Inhibit {
		if err := c.Detect.Inhibit[i].Check(); err != nil {
			return below(fmt.Sprintf("detect.inhibit[%d]", i), err)
		}
	}
	if err := c.Detect.Budget.Check(); err != nil {
		return below("detect.budget", err)
	}
	if err := c.Detect.Correlation.Check(); err != nil {
		return below("detect.correlation", err)
	}
	if err := c.Detect.Silence.Check(); err != nil {
		return below("detect.silence", err)
	}
	return c.Ingest.check(at, below)
}

func (c *Ingest) check(at func(path, format string, args ...any) error, below func(path string, err error) error) error {
	if err := c.TLS.Check(); err != nil {
		return at("ingest.tls", "%s", strings.TrimPrefix(err.Error(), "tls: "))
	}
	if len(c.Clients) > 0 && c.TLS.ClientCA == "" {
		return at("ingest.clients", "needs ingest.tls.client_ca, which verifies their certificates")
	}
	for i, client := range c.Clients {
		if client.Name == "" || len(client.Sources) == 0 {
			return at(fmt.Sprintf("ingest.clients[%d]", i), "name and sources are needed")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Hooks)) {
		hook := c.Hooks[name]
		if err := hook.Check(); err != nil {
			return below("ingest.hooks.'"+name+"'", err)
		}
	}
	if err := c.HEC.Check(); err != nil {
		return at("ingest.hec", "%s", strings.TrimPrefix(err.Error(), "hec: "))
	}
	if err := c.OTLP.Check(); err != nil {
		return at("ingest.otlp", "%s", strings.TrimPrefix(err.Error(), "otlp."))
	}
	if err := c.Bulk.Check(); err != nil {
		return at("ingest.bulk", "%s", strings.TrimPrefix(err.Error(), "bulk: "))
	}
	if err := c.NATS.Check(); err != nil {
		return below("ingest.nats", err)
	}
	for i := range c.Syslog {
		if err := c.Syslog[i].Check(); err != nil {
			return below(fmt.Sprintf("ingest.syslog[%d]", i), err)
		}
	}
	for i := range c.Tail {
		if err := c.Tail[i].Check(); err != nil {
			return below(fmt.Sprintf("ingest.tail[%d]", i), err)
		}
	}
	for i := range c.Pull {
		if err := c.Pull[i].Check(); err != nil {
			return below(fmt.Sprintf("ingest.pull[%d]", i), err)
		}
	}
	return nil
}

// mistake is an error with the position of a node.
func mistake(node ast.Node, format string, args ...any) error {
	p := node.GetToken().Position
	return fmt.Errorf("[%d:%d] "+format, append([]any{p.Line, p.Column}, args...)...)
}
