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

func read(fsys fs.FS, name string) (string, ingest.Framing, error) {
	text, err := fs.ReadFile(fsys, name)
	if err != nil {
		return "", "", err
	}
	var m struct {
		Source string `yaml:"source"`
		Format string `yaml:"format"`
	}
	if err := yaml.Unmarshal(text, &m); err != nil {
		return "", "", err
	}
	if m.Source != path.Base(path.Dir(name)) {
		return "", "", fmt.Errorf("source %q must be the name of its folder", m.Source)
	}
	if err := subjects.Check(m.Source); err != nil {
		return "", "", err
	}
	switch m.Format {
	case "json":
		return m.Source, ingest.JSON, nil
	case "text", "auto":
		return m.Source, ingest.Lines, nil
	}
	return "", "", fmt.Errorf("format %q is none of json, text, auto", m.Format)
}
