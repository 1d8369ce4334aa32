package archtest

import (
	"strings"
	"testing"
)

// rule says what the packages below a folder may import of this repository.
// The first rule whose folder matches decides.
type rule struct {
	folder  string   // "services/*" stands for any one service
	allowed []string // folders; "." alone is the root package, "x!" is x without its subfolders
	third   bool     // third-party modules (those in dependencies.txt)
	why     string
}

var rules = []rule{
	{"schemas", []string{"schemas"}, false,
		"schemas are the contract that everything reads, so they drag nothing along: the standard library only"},
	{"services/internal", []string{"services/internal", "schemas"}, true,
		"shared plumbing knows no service, else every service would depend on every other through it"},
	{"services/vagus", []string{
		"services/vagus", "services/internal", "schemas", ".",
		"services/ingest!", "services/normalize!", "services/detect!", "services/respond!", "services/store!",
	}, true,
		"the all-in-one binary composes services through their root packages, the same door that cmd/<service> uses"},
	{"services/*", []string{"services/*", "services/internal", "schemas"}, true,
		"services meet on subjects only, so that each can run, scale and fail alone"},
	{"scripts", []string{"scripts", "schemas"}, true,
		"scripts know the contracts and drive the product from outside; nothing a running service needs lives there"},
	{".", nil, false,
		"the root package only embeds content"},
}

func TestImports(t *testing.T) {
	for _, p := range workspace(t) {
		r, service := ruleFor(p.rel())
		if r == nil {
			t.Errorf("%s: no rule for this folder: add one to the table in scripts/archtest with its reason", p.ImportPath)
			continue
		}
		for _, imports := range [][]string{p.Imports, p.TestImports, p.XTestImports} {
			for _, path := range imports {
				if msg := r.refuses(path, service); msg != "" {
					t.Errorf("%s imports %s: %s; %s", p.rel(), path, msg, r.why)
				}
			}
		}
	}
}

// TestRules keeps the table honest: a table that allows everything is green too.
func TestRules(t *testing.T) {
	for name, tt := range map[string]struct {
		from, to string
		ok       bool
	}{
		"stdlib":                      {"schemas/event", "strings", true},
		"schemas third party":         {"schemas/event", "github.com/goccy/go-yaml", false},
		"internal to schemas":         {"services/internal/bus", prefix + "/schemas/subjects", true},
		"internal to service":         {"services/internal/bus", prefix + "/services/ingest", false},
		"service to itself":           {"services/ingest/cmd/ingest", prefix + "/services/ingest", true},
		"service to internal":         {"services/ingest", prefix + "/services/internal/bus", true},
		"service to service":          {"services/respond", prefix + "/services/detect", false},
		"service to similar name":     {"services/ingest", prefix + "/services/ingestion", false},
		"service to content":          {"services/detect", prefix, false},
		"vagus to root package":       {"services/vagus", prefix + "/services/detect", true},
		"vagus to below root package": {"services/vagus", prefix + "/services/detect/cmd/detect", false},
		"vagus to content":            {"services/vagus", prefix, true},
		"scripts to services":         {"scripts/bench", prefix + "/services/internal/block", false},
		"scripts to schemas":          {"scripts/gen", prefix + "/schemas/event", true},
		"root to anything":            {"", prefix + "/schemas/event", false},
		"service to third party":      {"services/store", "github.com/klauspost/compress/zstd", true},
	} {
		t.Run(name, func(t *testing.T) {
			r, service := ruleFor(tt.from)
			if r == nil {
				t.Fatalf("no rule for %q", tt.from)
			}
			if msg := r.refuses(tt.to, service); (msg == "") != tt.ok {
				t.Errorf("refuses = %q, want ok = %t", msg, tt.ok)
			}
		})
	}
}

// ruleFor returns the rule of a folder and, for "services/*", which service.
func ruleFor(folder string) (*rule, string) {
	for i := range rules {
		r := &rules[i]
		switch r.folder {
		case ".":
			if folder == "" {
				return r, ""
			}
		case "services/*":
			if rest, ok := strings.CutPrefix(folder, "services/"); ok {
				name, _, _ := strings.Cut(rest, "/")
				return r, "services/" + name
			}
		default:
			if within(folder, r.folder) {
				return r, ""
			}
		}
	}
	return nil, ""
}

// refuses says why the import is not allowed, "" when it is.
func (r *rule) refuses(path, service string) string {
	if path == "C" {
		return "cgo would end static, cross-compiled builds"
	}
	local := path == prefix || strings.HasPrefix(path, prefix+"/")
	if !local {
		first, _, _ := strings.Cut(path, "/")
		if strings.Contains(first, ".") && !r.third {
			return "third-party import"
		}
		return ""
	}
	to := strings.TrimPrefix(strings.TrimPrefix(path, prefix), "/")
	for _, a := range r.allowed {
		switch {
		case a == ".":
			if to == "" {
				return ""
			}
		case a == "services/*":
			if within(to, service) {
				return ""
			}
		case strings.HasSuffix(a, "!"):
			if to == strings.TrimSuffix(a, "!") {
				return ""
			}
		case within(to, a):
			return ""
		}
	}
	return "not one of " + strings.Join(r.allowed, ", ")
}

func within(path, folder string) bool {
	return path == folder || strings.HasPrefix(path, folder+"/")
}
