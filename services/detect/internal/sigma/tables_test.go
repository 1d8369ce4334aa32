package sigma

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// TestTables holds every table against the schema: columns that the classes
// have, conditions that compile, sources that exist.
func TestTables(t *testing.T) {
	tax, err := builtin()
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, o := range tax.origins {
		name := logsource{category: o.Category, product: o.Product, service: o.Service}.String()
		if seen[name] {
			t.Errorf("%s: there twice", name)
		}
		seen[name] = true
		if o.When != "" {
			if _, err := lang.Compile(o.When, o.families); err != nil {
				t.Errorf("%s: when: %v", name, err)
			}
		}
		for _, s := range o.Sources {
			if _, err := fs.Stat(sources.FS, s+"/mapping.yaml"); err != nil {
				t.Errorf("%s: there is no source %s", name, s)
			}
		}
		known := false
		for _, e := range rule.EntityTypes {
			known = known || e == o.Entity.Type
		}
		if !known {
			t.Errorf("%s: entity type %q", name, o.Entity.Type)
		}
		paths := append([]string{o.Entity.Path}, o.Show...)
		for field, places := range o.Fields {
			if len(places) == 0 {
				t.Errorf("%s: field %s is nowhere", name, field)
			}
			for _, p := range places {
				if p.When != "" {
					if _, err := lang.Compile(p.When, o.families); err != nil {
						t.Errorf("%s: field %s: when: %v", name, field, err)
					}
				}
				switch {
				case p.Const != nil:
				case len(p.Account) == 2:
					paths = append(paths, p.Account...)
				case len(p.Account) == 0 && p.Path != "":
					paths = append(paths, p.Path)
				default:
					t.Errorf("%s: field %s: give a path, an account of two columns or a const", name, field)
				}
			}
		}
		for _, p := range paths {
			if strings.HasPrefix(p, "unmapped.") || strings.HasPrefix(p, "unmapped[") || p == anyText {
				continue
			}
			col, ok := event.ByPath(p)
			if !ok {
				t.Errorf("%s: there is no column %s", name, p)
			} else if col.Families&o.families == 0 {
				t.Errorf("%s: column %s is not in the families %s", name, p, lang.FamilyNames(o.families))
			}
		}
	}
}
