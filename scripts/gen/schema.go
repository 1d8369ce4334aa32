package main

import (
	"fmt"
	"os"
	"regexp"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
)

// schema mirrors event.yaml.
type schema struct {
	Version     int      `yaml:"version"`
	OCSFVersion string   `yaml:"ocsf_version"`
	Families    []family `yaml:"families"`
	Classes     []class  `yaml:"classes"`
	Columns     []column `yaml:"columns"`
}

type family struct {
	Name string `yaml:"name"`
	Doc  string `yaml:"doc"`
}

type class struct {
	UID        uint32           `yaml:"uid"`
	Name       string           `yaml:"name"`
	Family     string           `yaml:"family"`
	Activities map[uint8]string `yaml:"activities"`
}

func (c class) activityIDs() []int {
	ids := make([]int, 0, len(c.Activities))
	for id := range c.Activities {
		ids = append(ids, int(id))
	}
	sort.Ints(ids)
	return ids
}

type column struct {
	Path    string `yaml:"path"`
	Column  string `yaml:"column"`
	Type    string `yaml:"type"`
	In      any    `yaml:"in"`
	OCSF    string `yaml:"ocsf"`
	OTel    string `yaml:"otel"`
	ECS     string `yaml:"ecs"`
	Privacy string `yaml:"privacy"`
	Max     int    `yaml:"max"`
	Doc     string `yaml:"doc"`

	families []string
}

// types maps a type of event.yaml to its Go constant, ClickHouse type with
// codec, type in a rule and JSON type. Times are sorted and so delta-encoded;
// the other codecs are cheap on purpose (see docs/adr).
var types = map[string]struct{ kind, ch, env, json string }{
	"string":   {"KindString", "String CODEC(ZSTD(1))", "string", `"string"`},
	"keyword":  {"KindKeyword", "LowCardinality(String)", "string", `"string"`},
	"u8":       {"KindU8", "UInt8", "int", `"integer"`},
	"u16":      {"KindU16", "UInt16", "int", `"integer"`},
	"u32":      {"KindU32", "UInt32", "int", `"integer"`},
	"u64":      {"KindU64", "UInt64", "int", `"integer"`},
	"f32":      {"KindF32", "Float32", "float64", `"number"`},
	"f64":      {"KindF64", "Float64", "float64", `"number"`},
	"bool":     {"KindBool", "Bool", "bool", `"boolean"`},
	"time":     {"KindTime", "DateTime64(3, 'UTC') CODEC(Delta(8), LZ4)", "int", `"integer"`},
	"ip":       {"KindIP", "IPv6", "string", `"string"`},
	"uuid":     {"KindUUID", "UUID", "string", `"string"`},
	"keywords": {"KindKeywords", "Array(LowCardinality(String))", "[]string", `"array"`},
	"scores":   {"KindScores", "Map(LowCardinality(String), Float32)", "map[string]float64", `"object"`},
}

// defaultMax bounds texts that do not say so themselves, in bytes.
var defaultMax = map[string]int{"string": 32768, "keyword": 8192, "keywords": 1024}

var pathPattern = regexp.MustCompile(`^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$`)

// load reads and checks the schema; every error names the entry.
func load(path string) (*schema, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var s schema
	if err := yaml.UnmarshalWithOptions(text, &s, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	names := map[string]bool{}
	for _, f := range s.Families {
		names[f.Name] = true
	}
	for _, c := range s.Classes {
		if !names[c.Family] {
			return nil, fmt.Errorf("class %s: unknown family %q", c.Name, c.Family)
		}
	}
	seen := map[string]string{}
	for i := range s.Columns {
		c := &s.Columns[i]
		if !pathPattern.MatchString(c.Path) {
			return nil, fmt.Errorf("column %q: the path must be lower-case words joined by dots", c.Path)
		}
		if _, ok := types[c.Type]; !ok {
			return nil, fmt.Errorf("column %s: unknown type %q", c.Path, c.Type)
		}
		if c.Doc == "" {
			return nil, fmt.Errorf("column %s: doc is missing", c.Path)
		}
		if c.Column == "" {
			c.Column = strings.ReplaceAll(c.Path, ".", "_")
		}
		if other, ok := seen[c.Column]; ok {
			return nil, fmt.Errorf("column %s: same ClickHouse name as %s", c.Path, other)
		}
		seen[c.Column] = c.Path
		if err := c.setFamilies(s.Families, names); err != nil {
			return nil, err
		}
		if c.OCSF == "-" {
			c.OCSF = ""
		}
		if limit, ok := defaultMax[c.Type]; ok && c.Max == 0 {
			c.Max = limit
		}
	}
	for _, a := range s.Columns {
		for _, b := range s.Columns {
			if strings.HasPrefix(b.Path, a.Path+".") {
				return nil, fmt.Errorf("column %s: is also the parent of %s", a.Path, b.Path)
			}
		}
	}
	return &s, nil
}

func (c *column) setFamilies(all []family, known map[string]bool) error {
	switch in := c.In.(type) {
	case string:
		if in != "all" {
			return fmt.Errorf("column %s: in: %q is neither \"all\" nor a list", c.Path, in)
		}
		for _, f := range all {
			c.families = append(c.families, f.Name)
		}
	case []any:
		for _, v := range in {
			name, _ := v.(string)
			if !known[name] {
				return fmt.Errorf("column %s: unknown family %v", c.Path, v)
			}
			c.families = append(c.families, name)
		}
	default:
		return fmt.Errorf("column %s: in: is missing", c.Path)
	}
	return nil
}

func (c *column) inFamily(name string) bool {
	for _, f := range c.families {
		if f == name {
			return true
		}
	}
	return false
}

// goName turns a path into an exported identifier: src_endpoint.ip → SrcEndpointIP.
func goName(path string) string {
	initials := map[string]string{"uid": "UID", "id": "ID", "ip": "IP", "api": "API", "ai": "AI", "k8s": "K8s", "http": "HTTP", "dns": "DNS", "tls": "TLS", "mcp": "MCP", "pid": "PID", "url": "URL", "uids": "UIDs"}
	var b strings.Builder
	for _, word := range strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '_' }) {
		if s, ok := initials[word]; ok {
			b.WriteString(s)
			continue
		}
		b.WriteString(strings.ToUpper(word[:1]) + word[1:])
	}
	return b.String()
}
