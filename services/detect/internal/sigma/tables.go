package sigma

import (
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/vagus-hub/vagus/schemas/event"
	tables "github.com/vagus-hub/vagus/schemas/sigma"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// origin is where the events of a logsource are and what its fields are called
// there: one entry of schemas/sigma.
type origin struct {
	Category string            `yaml:"category"`
	Product  string            `yaml:"product"`
	Service  string            `yaml:"service"`
	Open     bool              `yaml:"open"` // rules may name a product or service beyond these
	Class    []string          `yaml:"class"`
	Family   []string          `yaml:"family"`
	Sources  []string          `yaml:"sources"`
	When     string            `yaml:"when"`
	Entity   entity            `yaml:"entity"`
	Show     []string          `yaml:"show"`
	Use      []string          `yaml:"use"`
	Absent   []string          `yaml:"absent"`
	Under    []string          `yaml:"under"` // before the names of fields that stand under unmapped; they may begin in either case
	folded   map[string]target // Fields by name in lower case
	Log      string            `yaml:"log"`    // Windows: the channel
	Fields   map[string]target `yaml:"fields"` // Sigma's name → columns
	families event.Families    // of Class and Family
	classes  []uint32
}

type entity struct {
	Type string `yaml:"type"`
	Path string `yaml:"path"`
}

// target is where a field's values are: in one of several columns.
type target []place

// place is one of them.
type place struct {
	Path    string            `yaml:"path"`
	When    string            `yaml:"when"`    // the column holds the field only then
	Map     map[string]string `yaml:"map"`     // Sigma's value → the column's
	Prefix  string            `yaml:"prefix"`  // what stands before the value in the column, which holds more
	Suffix  string            `yaml:"suffix"`  // what stands behind it there
	Account []string          `yaml:"account"` // columns of DOMAIN and name; Path is empty
	Const   *string           `yaml:"const"`   // the field always has this value
	when    *lang.Node        // When, compiled
}

// UnmarshalYAML reads a path, a place, or a list of these.
func (t *target) UnmarshalYAML(n ast.Node) error {
	switch n := n.(type) {
	case *ast.SequenceNode:
		for _, item := range n.Values {
			var one target
			if err := one.UnmarshalYAML(item); err != nil {
				return err
			}
			*t = append(*t, one...)
		}
		return nil
	case *ast.MappingNode, *ast.MappingValueNode:
		var p place
		if err := yaml.NodeToValue(n, &p, yaml.Strict()); err != nil {
			return err
		}
		*t = target{p}
		return nil
	}
	var path string
	if err := yaml.NodeToValue(n, &path); err != nil {
		return err
	}
	*t = target{{Path: path}}
	return nil
}

// tableFile mirrors a file of schemas/sigma.
type tableFile struct {
	Groups     map[string]map[string]target `yaml:"groups"`
	Logsources []origin                     `yaml:"logsources"`
}

// taxonomy is what all files say.
type taxonomy struct {
	origins []*origin
}

// builtin are the embedded tables; a test keeps them sound.
var builtin = sync.OnceValues(func() (*taxonomy, error) { return readTables(tables.FS) })

func readTables(fsys fs.FS) (*taxonomy, error) {
	names, err := fs.Glob(fsys, "*.yaml")
	if err != nil {
		return nil, err
	}
	t := &taxonomy{}
	groups := map[string]map[string]target{}
	var files []tableFile
	for _, name := range names {
		data, err := fs.ReadFile(fsys, name)
		if err != nil {
			return nil, err
		}
		var f tableFile
		if err := yaml.UnmarshalWithOptions(data, &f, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("sigma tables: %s: %w", name, err)
		}
		for g, fields := range f.Groups {
			groups[g] = fields
		}
		files = append(files, f)
	}
	for i := range files {
		for j := range files[i].Logsources {
			o := &files[i].Logsources[j]
			if err := o.resolve(groups); err != nil {
				return nil, fmt.Errorf("sigma tables: %s: %w", logsource{category: o.Category, product: o.Product, service: o.Service}, err)
			}
			t.origins = append(t.origins, o)
		}
	}
	return t, nil
}

// resolve adds the fields of groups and works out classes and families.
func (o *origin) resolve(groups map[string]map[string]target) error {
	fields := map[string]target{}
	for name, t := range o.Fields {
		fields[name] = t
	}
	for _, g := range o.Use {
		group, ok := groups[g]
		if !ok {
			return fmt.Errorf("unknown group %s", g)
		}
		for name, t := range group {
			if _, own := fields[name]; !own {
				fields[name] = t
			}
		}
	}
	o.Fields, o.folded = fields, make(map[string]target, len(fields))
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if low := strings.ToLower(name); o.folded[low] == nil {
			o.folded[low] = fields[name]
		}
	}
	if o.Log != "" {
		when := "ieq(metadata.log_name, " + quote(o.Log) + ")"
		if o.When != "" {
			when += " and (" + o.When + ")"
		}
		o.When = when
	}
	for _, name := range o.Class {
		c, ok := event.ClassByName(name)
		if !ok {
			return fmt.Errorf("unknown class %s", name)
		}
		o.classes = append(o.classes, c.UID)
		o.families |= 1<<c.Family | 1<<event.FamilyAI
		if c.Family == event.FamilyNetwork {
			o.families |= 1 << event.FamilyHost
		}
	}
	if len(o.Family) > 0 {
		o.families = 0
	}
	for _, name := range o.Family {
		f, ok := event.FamilyByName(name)
		if !ok {
			return fmt.Errorf("unknown family %s", name)
		}
		o.families |= 1 << f
	}
	if o.families == 0 {
		o.families = 1<<len(event.FamilyNames) - 1
	}
	for name, places := range o.Fields {
		for i := range places {
			if places[i].When == "" || places[i].when != nil {
				continue
			}
			e, err := lang.Part(places[i].When, o.families)
			if err != nil {
				return fmt.Errorf("field %s: when: %w", name, err)
			}
			places[i].when = e.Root
		}
	}
	return nil
}

// find returns the origin of a logsource: the one that says most about it.
func (t *taxonomy) find(l logsource) *origin {
	var best *origin
	points := -1
	for _, o := range t.origins {
		n, ok := 0, true
		for _, p := range [3][2]string{{o.Category, l.category}, {o.Product, l.product}, {o.Service, l.service}} {
			switch {
			case p[0] == p[1] && p[0] != "":
				n++
			case p[0] == "" && (p[1] == "" || o.Open):
			default:
				ok = false
			}
		}
		if ok && n > points {
			best, points = o, n
		}
	}
	return best
}

// places finds a field: by its name, by its name in other case, and otherwise
// under unmapped by the name that it has.
func (o *origin) places(field string) target {
	if t, ok := o.Fields[field]; ok {
		return t
	}
	if t, ok := o.folded[strings.ToLower(field)]; ok {
		return t
	}
	if len(o.Under) == 0 {
		return target{{Path: unmapped(field)}}
	}
	var out target
	for _, name := range distinct([]string{field, swapFirst(field)}) {
		for _, under := range o.Under {
			out = append(out, place{Path: unmapped(under + name)})
		}
	}
	return out
}

// swapFirst writes the first letter of every part of a name in the other case:
// some exports of a log write resultType, others ResultType.
func swapFirst(name string) string {
	parts := strings.Split(name, ".")
	for i, p := range parts {
		if p != "" && (p[0]|0x20 >= 'a' && p[0]|0x20 <= 'z') {
			parts[i] = string(p[0]^0x20) + p[1:]
		}
	}
	return strings.Join(parts, ".")
}
