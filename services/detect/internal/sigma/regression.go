package sigma

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Sample is a rule's own sample of a Sigma repository.
type Sample struct {
	Info    string `json:"info"` // the info.yml
	Name    string `json:"name"`
	RuleID  string `json:"rule_id"`
	Title   string `json:"title"`
	Matches int    `json:"matches,omitempty"` // events that must match; 0: at least one
	Events  []byte `json:"-"`                 // a record a line
}

// maxSample bounds a sample's file in bytes.
const maxSample = 64 << 20

// Samples reads the regression data of a Sigma repository below dir: info.yml
// files, with the events beside them. The recorded files (evtx) are not read,
// but what they hold as JSON.
func Samples(dir string) ([]Sample, error) {
	var out []Sample
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || d.Name() != "info.yml" {
			return err
		}
		more, err := readInfo(name)
		out = append(out, more...)
		return err
	})
	if err == nil && len(out) == 0 {
		err = errors.New("there is no info.yml")
	}
	if err != nil {
		return nil, fmt.Errorf("read regression data %s: %w", dir, err)
	}
	return out, nil
}

func readInfo(name string) ([]Sample, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	p := problems{file: name}
	docs := p.documents(data)
	if len(p.list) > 0 {
		return nil, errors.New(p.list[0].String())
	}
	if len(docs) != 1 {
		return nil, fmt.Errorf("%s: one document was expected", name)
	}
	var out []Sample
	meta, tests := docs[0].get("rule_metadata"), docs[0].get("regression_tests_info")
	if meta == nil {
		return nil, fmt.Errorf("%s lacks rule_metadata", name)
	}
	if tests == nil { // none yet
		return nil, nil
	}
	for _, m := range meta.items {
		for i := range tests.items {
			t := &tests.items[i]
			s := Sample{Info: filepath.ToSlash(name), Name: p.scalar(t, "name"), RuleID: strings.ToLower(p.scalar(&m, "id")), Title: p.scalar(&m, "title")}
			s.Matches, _ = strconv.Atoi(p.scalar(t, "match_count"))
			if s.Events, err = eventsOf(filepath.Dir(name), p.scalar(t, "path")); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			out = append(out, s)
		}
	}
	return out, nil
}

// eventsOf finds the events of a test: the JSON beside the recorded file, or
// the file itself.
func eventsOf(dir, path string) ([]byte, error) {
	base := filepath.Base(filepath.FromSlash(path))
	stem := strings.TrimSuffix(base, filepath.Ext(base))
	names := []string{stem + ".json", stem + ".jsonl", stem + ".ndjson", base}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), stem+".json") && !slices.Contains(names, e.Name()) {
			names = append(names[:3:3], e.Name(), base)
		}
	}
	for _, n := range names {
		f, err := os.Open(filepath.Join(dir, n))
		if err != nil {
			continue
		}
		defer f.Close()
		data, err := io.ReadAll(io.LimitReader(f, maxSample+1))
		if err != nil {
			return nil, err
		}
		if len(data) > maxSample {
			return nil, fmt.Errorf("%s is longer than %d MiB", n, maxSample>>20)
		}
		if n == base {
			return data, nil
		}
		return lines(data)
	}
	return nil, fmt.Errorf("no events beside %s", path)
}

// lines writes JSON documents, or the elements of an array, on a line each.
func lines(data []byte) ([]byte, error) {
	var out bytes.Buffer
	d := json.NewDecoder(bytes.NewReader(data))
	for {
		var v json.RawMessage
		if err := d.Decode(&v); errors.Is(err, io.EOF) {
			return out.Bytes(), nil
		} else if err != nil {
			return nil, err
		}
		many := []json.RawMessage{v}
		if bytes.HasPrefix(bytes.TrimSpace(v), []byte("[")) {
			if err := json.Unmarshal(v, &many); err != nil {
				return nil, err
			}
		}
		for _, one := range many {
			if err := json.Compact(&out, one); err != nil {
				return nil, err
			}
			out.WriteByte('\n')
		}
	}
}
