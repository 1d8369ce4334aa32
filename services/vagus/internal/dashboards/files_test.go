package dashboards

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

const folder = "../../../../deploy/grafana"

// The data source that the provisioning makes, and the panel types that a
// Grafana brings without further plugins.
const (
	sourceType = "grafana-clickhouse-datasource"
	sourceUID  = "vagus-clickhouse"
)

var panelTypes = []string{"timeseries", "table", "stat", "bargauge", "barchart", "piechart", "logs", "row"}

// outside are the hosts that a link may lead to.
var outside = regexp.MustCompile(`^\$\{__data\.fields\.Reference\}$`)

var dashboardLink = regexp.MustCompile(`^/d/([\w-]+)\?`)

func load(t *testing.T) []Dashboard {
	t.Helper()
	list, err := Load(os.DirFS(filepath.Join(folder, "dashboards")))
	if err != nil {
		t.Fatal(err)
	}
	if len(list) < 3 {
		t.Fatalf("%d dashboards, want SOC overview, AI gateway and entity", len(list))
	}
	return list
}

func TestDashboards(t *testing.T) {
	list := load(t)
	variables := map[string][]string{} // dashboard uid → its variables
	for _, d := range list {
		if _, twice := variables[d.UID]; twice {
			t.Errorf("%s: uid %s is used twice", d.File, d.UID)
		}
		variables[d.UID] = []string{}
		for _, v := range d.Templating.List {
			variables[d.UID] = append(variables[d.UID], v.Name)
		}
	}
	for _, d := range list {
		t.Run(d.File, func(t *testing.T) {
			if !strings.HasPrefix(d.UID, "vagus-") || d.Title == "" || d.Description == "" || d.SchemaVersion < 41 {
				t.Errorf("uid %q, title %q, description %q, schema version %d: all are needed", d.UID, d.Title, d.Description, d.SchemaVersion)
			}
			for _, v := range d.Templating.List {
				if v.Label == "" || v.Description == "" {
					t.Errorf("variable %s: no label or description", v.Name)
				}
				if v.Type == "query" && !ours(v.DataSource) {
					t.Errorf("variable %s: data source %+v", v.Name, v.DataSource)
				}
			}
			ids := map[int]string{}
			taken := map[[2]int]string{}
			for _, p := range d.Panels {
				if other, twice := ids[p.ID]; twice || p.ID <= 0 {
					t.Errorf("panel %q: id %d is that of %q or not positive", p.Title, p.ID, other)
				}
				ids[p.ID] = p.Title
				checkPlace(t, p, taken)
				checkPanel(t, p)
				links, err := p.Links()
				if err != nil {
					t.Error(err)
				}
				for _, l := range links {
					checkLink(t, p, l, variables)
				}
			}
		})
	}
}

func ours(d *DataSource) bool { return d != nil && d.Type == sourceType && d.UID == sourceUID }

func checkPanel(t *testing.T, p Panel) {
	t.Helper()
	if !slices.Contains(panelTypes, p.Type) {
		t.Errorf("panel %q: type %q is not one that a plain Grafana has", p.Title, p.Type)
	}
	if p.Title == "" {
		t.Errorf("panel %d has no title", p.ID)
	}
	if p.Type == "row" {
		if len(p.Panels) > 0 {
			t.Errorf("row %q is collapsed: its panels would not be tested", p.Title)
		}
		return
	}
	if p.Description == "" || len(p.Targets) == 0 || len(p.Options) == 0 || !ours(p.DataSource) {
		t.Errorf("panel %q: description %q, %d targets, options %s, data source %+v: all are needed", p.Title, p.Description, len(p.Targets), p.Options, p.DataSource)
	}
	refs := map[string]bool{}
	for _, q := range p.Targets {
		format := 1
		if p.Type == "timeseries" {
			format = 0
		}
		if refs[q.RefID] || q.RefID == "" || q.EditorType != "sql" || q.Format != format || !ours(q.DataSource) {
			t.Errorf("panel %q: target %q, editor %q, format %d (want %d), data source %+v", p.Title, q.RefID, q.EditorType, q.Format, format, q.DataSource)
		}
		refs[q.RefID] = true
	}
}

// checkPlace finds panels that overlap or leave the grid of 24 columns.
func checkPlace(t *testing.T, p Panel, taken map[[2]int]string) {
	t.Helper()
	g := p.GridPos
	if g.W <= 0 || g.H <= 0 || g.X < 0 || g.X+g.W > 24 {
		t.Errorf("panel %q: place %+v is outside of the grid", p.Title, g)
	}
	for x := g.X; x < g.X+g.W; x++ {
		for y := g.Y; y < g.Y+g.H; y++ {
			if other, ok := taken[[2]int{x, y}]; ok {
				t.Errorf("panel %q lies over %q", p.Title, other)
				return
			}
			taken[[2]int{x, y}] = p.Title
		}
	}
}

func checkLink(t *testing.T, p Panel, l Link, variables map[string][]string) {
	t.Helper()
	if l.Title == "" {
		t.Errorf("panel %q: link %s has no title", p.Title, l.URL)
	}
	if outside.MatchString(l.URL) {
		return
	}
	m := dashboardLink.FindStringSubmatch(l.URL)
	if m == nil {
		t.Errorf("panel %q: link %s leads neither to a dashboard nor to a known host", p.Title, l.URL)
		return
	}
	known, ok := variables[m[1]]
	if !ok {
		t.Errorf("panel %q: link to the dashboard %s, which does not exist", p.Title, m[1])
		return
	}
	for _, part := range strings.Split(l.URL[len(m[0]):], "&") {
		name, value, _ := strings.Cut(part, "=")
		if v, ok := strings.CutPrefix(name, "var-"); ok && !slices.Contains(known, v) {
			t.Errorf("panel %q: link sets %s, which dashboard %s does not have", p.Title, v, m[1])
		}
		if strings.Contains(value, "${") && !strings.Contains(value, ":percentencode}") {
			t.Errorf("panel %q: link puts %s into the address as it is: use :percentencode", p.Title, value)
		}
	}
}

func TestProvisioning(t *testing.T) {
	var sources struct {
		APIVersion  int `yaml:"apiVersion"`
		DataSources []struct {
			Name           string            `yaml:"name"`
			UID            string            `yaml:"uid"`
			Type           string            `yaml:"type"`
			Access         string            `yaml:"access"`
			IsDefault      bool              `yaml:"isDefault"`
			Editable       bool              `yaml:"editable"`
			JSONData       map[string]any    `yaml:"jsonData"`
			SecureJSONData map[string]string `yaml:"secureJsonData"`
		} `yaml:"datasources"`
	}
	strict(t, "provisioning/datasources/vagus.yml", &sources)
	if len(sources.DataSources) != 1 {
		t.Fatalf("%d data sources, want 1", len(sources.DataSources))
	}
	d := sources.DataSources[0]
	if sources.APIVersion != 1 || d.UID != sourceUID || d.Type != sourceType || d.JSONData["protocol"] != "http" {
		t.Errorf("data source %+v: not the one that the dashboards use, over HTTP", d)
	}
	readme, err := os.ReadFile(filepath.Join(folder, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	environment := []any{d.JSONData["host"], d.JSONData["port"], d.JSONData["username"], d.SecureJSONData["password"]}
	var providers struct {
		APIVersion int `yaml:"apiVersion"`
		Providers  []struct {
			Name                  string         `yaml:"name"`
			Folder                string         `yaml:"folder"`
			FolderUID             string         `yaml:"folderUid"`
			Type                  string         `yaml:"type"`
			DisableDeletion       bool           `yaml:"disableDeletion"`
			AllowUIUpdates        bool           `yaml:"allowUiUpdates"`
			UpdateIntervalSeconds int            `yaml:"updateIntervalSeconds"`
			Options               map[string]any `yaml:"options"`
		} `yaml:"providers"`
	}
	strict(t, "provisioning/dashboards/vagus.yml", &providers)
	if providers.APIVersion != 1 || len(providers.Providers) != 1 || providers.Providers[0].Type != "file" {
		t.Fatalf("providers %+v", providers)
	}
	for _, v := range append(environment, providers.Providers[0].Options["path"]) {
		text, _ := v.(string)
		name, ok := strings.CutPrefix(text, "$")
		if !ok || !strings.Contains(string(readme), name) {
			t.Errorf("%q is not an environment variable that the README explains", v)
		}
	}
}

func strict(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalWithOptions(data, into, yaml.Strict()); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}
