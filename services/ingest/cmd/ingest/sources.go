package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/goccy/go-yaml"

	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/ingest"
)

// folder is a folder of mappings, or the built-in ones.
func folder(dir string) fs.FS {
	if dir == "" {
		return sources.FS
	}
	return os.DirFS(dir)
}

// load tells from the mappings how the records of each source are framed. Of a
// mapping it reads that alone: the rest is for normalize. A mapping with
// errors is left out and reported; the others are returned all the same.
func load(fsys fs.FS) (map[string]ingest.Framing, error) {
	names, err := fs.Glob(fsys, "*/mapping.yaml")
	if err != nil {
		return nil, err
	}
	known, errs := map[string]ingest.Framing{}, []error{}
	for _, name := range names {
		source, framing, err := read(fsys, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("mapping %s: %w", name, err))
			continue
		}
		known[source] = framing
	}
	return known, errors.Join(errs...)
}

func read(fsys fs.FS, name string) (source string, f ingest.Framing, err error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return "", f, err
	}
	var m struct {
		Source  string `yaml:"source"`
		Format  string `yaml:"format"`
		Framing struct {
			Start  string `yaml:"start"`
			Group  string `yaml:"group"`
			Header string `yaml:"header"`
		} `yaml:"framing"`
	}
	if err := yaml.Unmarshal(text, &m); err != nil {
		return "", f, err
	}
	if m.Source != path.Base(path.Dir(name)) {
		return "", f, fmt.Errorf("source %q must be the name of its folder", m.Source)
	}
	if err := subjects.Check(m.Source); err != nil {
		return "", f, err
	}
	switch m.Format {
	case "json":
		return m.Source, f, nil
	case "text", "auto", "kv", "csv", "zeek", "cef", "leef", "syslog", "audit":
		if f, err = ingest.TextFraming(m.Framing.Start, m.Framing.Group, m.Framing.Header); err != nil {
			return "", f, fmt.Errorf("framing: %w", err)
		}
		return m.Source, f, nil
	}
	return "", f, fmt.Errorf("format %q is not known", m.Format)
}
