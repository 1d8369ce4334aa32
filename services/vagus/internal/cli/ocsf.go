package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/schemas/ocsf"
)

// maxRow bounds one stored event as JSON.
const maxRow = 16 << 20

// writeOCSF turns rows as ClickHouse prints them, a JSON object a line by
// column, into OCSF, a JSON object a line.
func writeOCSF(w io.Writer, rows io.Reader) error {
	schema, err := ocsf.Load()
	if err != nil {
		return err
	}
	paths := make(map[string]*event.Column, len(event.Columns))
	for i := range event.Columns {
		paths[event.Columns[i].Name] = &event.Columns[i]
	}
	lines := bufio.NewScanner(rows)
	lines.Buffer(nil, maxRow)
	var out []byte
	for lines.Scan() {
		flat, err := flatRow(lines.Bytes(), paths)
		if err != nil {
			return err
		}
		if out, err = schema.Append(out[:0], flat); err != nil {
			return err
		}
		if _, err := w.Write(append(out, '\n')); err != nil {
			return err
		}
	}
	return lines.Err()
}

// writeFindings prints alerts as OCSF Detection Findings, a JSON object a line.
func writeFindings(w io.Writer, alerts []finding.Alert) error {
	schema, err := ocsf.Load()
	if err != nil {
		return err
	}
	var out []byte
	for i := range alerts {
		if out, err = schema.AppendAlert(out[:0], &alerts[i]); err != nil {
			return err
		}
		if _, err := w.Write(append(out, '\n')); err != nil {
			return err
		}
	}
	return nil
}

// flatRow names the columns of a row by path and leaves out what is absent.
func flatRow(row []byte, paths map[string]*event.Column) ([]byte, error) {
	d := json.NewDecoder(strings.NewReader(string(row)))
	d.UseNumber()
	var in map[string]any
	if err := d.Decode(&in); err != nil {
		return nil, fmt.Errorf("read a stored event: %w", err)
	}
	flat := map[string]any{}
	for name, v := range in {
		c := paths[name]
		if c == nil {
			continue
		}
		switch x := v.(type) {
		case nil:
			continue
		case string:
			if x == "" || c.Kind == event.KindIP && x == "::" || c.Kind == event.KindTime && strings.HasPrefix(x, "1970-01-01 00:00:00") {
				continue
			}
			if c.Kind == event.KindTime { // as ClickHouse writes it, in UTC
				v = strings.Replace(x, " ", "T", 1) + "Z"
			} else if c.Kind.Number() { // 64 bits are quoted
				if x == "0" {
					continue
				}
				v = json.Number(x)
			}
		case json.Number:
			if f, err := x.Float64(); err == nil && f == 0 {
				continue
			}
		case bool:
			if !x {
				continue
			}
		case []any:
			if len(x) == 0 {
				continue
			}
		case map[string]any:
			if len(x) == 0 {
				continue
			}
		}
		flat[c.Path] = v
	}
	return json.Marshal(flat)
}
