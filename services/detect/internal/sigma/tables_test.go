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

// TestCarriers: rules of products without a mapping of their own find records
// as general sources carry them.
func TestCarriers(t *testing.T) {
	const canary = "title: T\nlogsource: {category: application, product: opencanary}\ndetection: {s: {logtype: 4002}, condition: s}\n"
	const bitbucket = "title: T\nlogsource: {product: bitbucket, service: audit}\ndetection: {s: {auditType.category: Authentication, auditType.action: 'Login failed'}, condition: s}\n"
	const fortigate = "title: T\nlogsource: {product: fortigate, service: event}\ndetection: {s: {action: Add, cfgpath: user.local}, condition: s}\n"
	const onelogin = "title: T\nlogsource: {product: onelogin, service: onelogin.events}\ndetection: {s: {event_type_id: 3}, condition: s}\n"
	const duo = "title: T\nlogsource: {product: cisco, service: duo}\ndetection: {s: {event_type: authentication, reason: bypass_user}, condition: s}\n"
	for name, tc := range map[string]struct {
		rule    string
		family  event.Family
		yes, no fields
	}{
		"opencanary by syslog":      {canary, event.FamilyHost, fields{"source": "syslog.message", "message": `{"logdata": {}, "logtype": 4002, "node_id": "c"}`}, fields{"source": "syslog.message", "message": `{"logdata": {"x": "4002"}, "logtype": 4000, "node_id": "c"}`}},
		"opencanary in CloudEvents": {canary, event.FamilyAPI, fields{"source": "cloudevents.event", "resource.data": `{"logtype":4002,"node_id":"c"}`}, fields{"source": "cloudevents.event", "resource.data": `{"logtype":14002,"node_id":"c"}`}},
		"opencanary by Elastic":     {canary, event.FamilyAPI, fields{"source": "elastic.ecs", "unmapped": `{"opencanary.logtype":4002}`}, fields{"source": "elastic.ecs", "unmapped": `{"opencanary.logtype":4000}`}},
		"bitbucket":                 {bitbucket, event.FamilyAPI, fields{"source": "splunk.hec", "message": `{"auditType":{"action":"Login failed","category":"Authentication"}}`}, fields{"source": "splunk.hec", "message": `{"auditType":{"action":"Login","category":"Authentication"}}`}},
		"fortigate":                 {fortigate, event.FamilyHost, fields{"source": "syslog.message", "message": `user="admin" action="Add" cfgpath="user.local" cfgobj="x"`}, fields{"source": "syslog.message", "message": `user="admin" action="Add" cfgpath="user.locals"`}},
		"fortigate by Elastic":      {fortigate, event.FamilyAPI, fields{"source": "elastic.ecs", "api.operation": "Add", "unmapped": `{"fortinet.firewall.cfgpath":"user.local"}`}, fields{"source": "elastic.ecs", "api.operation": "Edit", "unmapped": `{"fortinet.firewall.cfgpath":"user.local"}`}},
		"onelogin":                  {onelogin, event.FamilyAPI, fields{"source": "splunk.hec", "message": `{"id":1,"event_type_id":3,"user_name":"ada"}`}, fields{"source": "splunk.hec", "message": `{"id":1,"event_type_id":31,"user_name":"ada"}`}},
		"duo":                       {duo, event.FamilyIdentity, fields{"source": "elastic.ecs", "unmapped": `{"cisco_duo.auth.event_type":"authentication","cisco_duo.auth.reason":"bypass_user"}`}, fields{"source": "elastic.ecs", "unmapped": `{"cisco_duo.auth.event_type":"authentication","cisco_duo.auth.reason":"user_approved"}`}},
	} {
		t.Run(name, func(t *testing.T) {
			r := one(t, tc.rule)
			if n := fires(t, r, testEvent(tc.family, tc.yes)); n != 1 {
				t.Errorf("%v does not match\n%s", tc.yes, r.When.Source)
			}
			if n := fires(t, r, testEvent(tc.family, tc.no)); n != 0 {
				t.Errorf("%v matches\n%s", tc.no, r.When.Source)
			}
		})
	}
}
