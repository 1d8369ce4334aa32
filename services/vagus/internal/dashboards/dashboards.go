// Package dashboards reads the Grafana dashboards of deploy/grafana and expands
// their queries as Grafana and its ClickHouse plugin do, so that every panel can
// be run against the tables without a Grafana.
package dashboards

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
)

// Dashboard is what Grafana reads of a dashboard file, as far as it matters here.
type Dashboard struct {
	UID           string `json:"uid"`
	Title         string `json:"title"`
	Description   string `json:"description"`
	SchemaVersion int    `json:"schemaVersion"`
	Templating    struct {
		List []Variable `json:"list"`
	} `json:"templating"`
	Panels []Panel `json:"panels"`

	File string `json:"-"` // name of the file
}

// DataSource names a data source.
type DataSource struct {
	Type string `json:"type"`
	UID  string `json:"uid"`
}

// Variable is a template variable. Query is an object for the type query and a
// text for the others.
type Variable struct {
	Type        string          `json:"type"` // query, custom or textbox
	Name        string          `json:"name"`
	Label       string          `json:"label"`
	Description string          `json:"description"`
	DataSource  *DataSource     `json:"datasource"`
	Query       json.RawMessage `json:"query"`
	IncludeAll  bool            `json:"includeAll"`
	Multi       bool            `json:"multi"`
}

// Panel is a panel or a row of a dashboard.
type Panel struct {
	ID          int         `json:"id"`
	Type        string      `json:"type"`
	Title       string      `json:"title"`
	Description string      `json:"description"`
	DataSource  *DataSource `json:"datasource"`
	GridPos     struct {
		H, W, X, Y int
	} `json:"gridPos"`
	Targets     []Target        `json:"targets"`
	FieldConfig FieldConfig     `json:"fieldConfig"`
	Options     json.RawMessage `json:"options"`
	Panels      []Panel         `json:"panels"` // of a collapsed row
}

// Target is a query of a panel.
type Target struct {
	RefID      string      `json:"refId"`
	DataSource *DataSource `json:"datasource"`
	EditorType string      `json:"editorType"`
	RawSQL     string      `json:"rawSql"`
	Format     int         `json:"format"` // 0 time series, 1 table, 2 logs
}

// FieldConfig says how fields are shown.
type FieldConfig struct {
	Defaults  FieldDefaults `json:"defaults"`
	Overrides []Override    `json:"overrides"`
}

// FieldDefaults are settings for all fields of a panel.
type FieldDefaults struct {
	Unit  string `json:"unit"`
	Links []Link `json:"links"`
}

// Override changes settings of the fields that a matcher finds.
type Override struct {
	Matcher struct {
		ID      string `json:"id"`
		Options any    `json:"options"`
	} `json:"matcher"`
	Properties []struct {
		ID    string          `json:"id"`
		Value json.RawMessage `json:"value"`
	} `json:"properties"`
}

// Link is a data link.
type Link struct {
	Title string `json:"title"`
	URL   string `json:"url"`
}

// Links are all data links of the panel.
func (p *Panel) Links() ([]Link, error) {
	links := p.FieldConfig.Defaults.Links
	for _, o := range p.FieldConfig.Overrides {
		for _, prop := range o.Properties {
			if prop.ID != "links" {
				continue
			}
			var more []Link
			if err := json.Unmarshal(prop.Value, &more); err != nil {
				return nil, fmt.Errorf("panel %q: links of %v: %w", p.Title, o.Matcher.Options, err)
			}
			links = append(links, more...)
		}
	}
	return links, nil
}

// SQL is the query of a variable of the type query.
func (v *Variable) SQL() (string, error) {
	var q struct {
		RawSQL string `json:"rawSql"`
	}
	if err := json.Unmarshal(v.Query, &q); err != nil {
		return "", fmt.Errorf("variable %s: read query: %w", v.Name, err)
	}
	return q.RawSQL, nil
}

// Load reads every dashboard (*.json) of a folder, in the order of the names.
func Load(files fs.FS) ([]Dashboard, error) {
	names, err := fs.Glob(files, "*.json")
	if err != nil {
		return nil, fmt.Errorf("list dashboards: %w", err)
	}
	var out []Dashboard
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read dashboard: %w", err)
		}
		d := Dashboard{File: name}
		if err := json.NewDecoder(bytes.NewReader(data)).Decode(&d); err != nil {
			return nil, fmt.Errorf("read dashboard %s: %w", name, err)
		}
		out = append(out, d)
	}
	return out, nil
}
