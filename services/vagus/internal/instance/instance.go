// Package instance is what a running hub leaves for the command line to find
// it: addresses and credentials, readable by the same user only.
package instance

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// State is <data>/vagus.json while the hub runs.
type State struct {
	PID           int    `json:"pid"`
	NATSURL       string `json:"nats_url"`
	NATSToken     string `json:"nats_token"`
	IngestURL     string `json:"ingest_url"`
	IngestToken   string `json:"ingest_token"`
	OTLPAddr      string `json:"otlp_addr,omitempty"` // of OTLP over gRPC
	APIURL        string `json:"api_url"`
	APIToken      string `json:"api_token"`
	ClickHouseDSN string `json:"clickhouse_dsn"`      // read-only user
	RulesDir      string `json:"rules_dir,omitempty"` // folder of more rules
	LeafAddr      string `json:"leaf_addr,omitempty"` // where edges connect
	// Edge is the name of an edge, Hub the hub that it hands on to.
	Edge string `json:"edge,omitempty"`
	Hub  string `json:"hub,omitempty"`
}

// Secrets is <data>/secrets.json: made once, kept over restarts.
type Secrets struct {
	NATS   string `json:"nats"`
	Ingest string `json:"ingest"`
	API    string `json:"api"`
	Store  string `json:"clickhouse_store"`
	Read   string `json:"clickhouse_read"`
}

const (
	stateFile   = "vagus.json"
	secretsFile = "secrets.json"
)

// LoadSecrets reads the secrets of a data folder, making them the first time.
func LoadSecrets(data string) (Secrets, error) {
	var s Secrets
	path := filepath.Join(data, secretsFile)
	text, err := os.ReadFile(path)
	switch {
	case err == nil:
		if err := json.Unmarshal(text, &s); err != nil {
			return s, fmt.Errorf("read %s: %w", path, err)
		}
		return s, nil
	case !errors.Is(err, fs.ErrNotExist):
		return s, err
	}
	s = Secrets{NATS: rand.Text(), Ingest: rand.Text(), API: rand.Text(), Store: rand.Text(), Read: rand.Text()}
	// Processes that start at the same time must agree: the first file stays.
	mine := path + "." + rand.Text()
	if err := write(mine, s); err != nil {
		return s, err
	}
	err = os.Link(mine, path)
	switch {
	case errors.Is(err, fs.ErrExist):
		_ = os.Remove(mine) // of no use
		return LoadSecrets(data)
	case err != nil: // a file system without hard links
		return s, os.Rename(mine, path)
	}
	return s, os.Remove(mine)
}

// Save publishes the state; Remove takes it back.
func Save(data string, s State) error { return write(filepath.Join(data, stateFile), s) }

// Remove takes the state back at shutdown.
func Remove(data string) error {
	err := os.Remove(filepath.Join(data, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Load finds the running hub of a data folder.
func Load(data string) (State, error) {
	var s State
	path := filepath.Join(data, stateFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, fmt.Errorf("no hub runs with the data folder %s (start one with `vagus up`, or name its folder with --data)", data)
	}
	if err != nil {
		return s, err
	}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("read %s: %w", path, err)
	}
	return s, nil
}

// write replaces a file whole, so that a reader never sees half of it.
func write(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	tmp := path + ".tmp"
	if err := os.WriteFile(tmp, append(text, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}
