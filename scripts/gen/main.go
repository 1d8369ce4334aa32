// Command gen turns schemas/event/event.yaml, the single source of the event
// schema, into Go columns, the expression environment, ClickHouse DDL, a JSON
// Schema and the reference page. Run it through `./task gen`.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	root := flag.String("root", ".", "the repository's root folder")
	flag.Parse()
	if err := run(*root); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(root string) error {
	s, err := load(filepath.Join(root, "schemas", "event", "event.yaml"))
	if err != nil {
		return err
	}
	outputs := []struct {
		path string
		make func(*schema) ([]byte, error)
	}{
		{"schemas/event/columns_gen.go", goColumns},
		{"schemas/event/env_gen.go", goEnv},
		{"schemas/clickhouse/0002_events_gen.sql", ddl},
		{"schemas/jsonschema/event.schema.json", jsonSchema},
		{"docs/reference/event.md", reference},
	}
	for _, o := range outputs {
		data, err := o.make(s)
		if err != nil {
			return fmt.Errorf("generate %s: %w", o.path, err)
		}
		path := filepath.Join(root, filepath.FromSlash(o.path))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
	}
	return nil
}
