// Package migrate brings the database to the state of the numbered SQL: it
// runs what changed, adds columns that a newer schema has, and follows changed
// retention. It never drops or rewrites anything.
package migrate

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
)

// Database is what migrations need.
type Database interface {
	Exec(ctx context.Context, sql string, args ...any) error
	Query(ctx context.Context, sql string, args ...any) (driver.Rows, error)
}

// Migration is one file, its placeholders filled in.
type Migration struct {
	Version    uint32
	Name, Hash string
	Statements []string
	Tables     []Table
}

// Table is what a CREATE TABLE statement says that can change later.
type Table struct {
	Name    string
	Columns []Column
	TTL     string // expression, "" when there is none
}

// Column is a line of a CREATE TABLE statement.
type Column struct{ Name, Definition string }

var placeholder = regexp.MustCompile(`\{ttl_([a-z]+)_days\}`)

// Load reads NNNN_name.sql in order of number. ttl gives the days of each
// {ttl_NAME_days}.
func Load(files fs.FS, ttl map[string]int) ([]Migration, error) {
	names, err := fs.Glob(files, "*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	slices.Sort(names)
	var out []Migration
	for _, name := range names {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read migration: %w", err)
		}
		number, _, _ := strings.Cut(name, "_")
		version, err := strconv.ParseUint(number, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("migration %s: the name does not start with a number and '_'", name)
		}
		if len(out) > 0 && out[len(out)-1].Version == uint32(version) {
			return nil, fmt.Errorf("migration %s: number %d is used twice", name, version)
		}
		var missing string
		sql := placeholder.ReplaceAllStringFunc(string(data), func(s string) string {
			key := placeholder.FindStringSubmatch(s)[1]
			if ttl[key] <= 0 {
				missing = key
			}
			return strconv.Itoa(ttl[key])
		})
		if missing != "" {
			return nil, fmt.Errorf("migration %s: retention of %q is not configured (days, at least 1)", name, missing)
		}
		m := Migration{Version: uint32(version), Name: name, Statements: statements(sql)}
		sum := sha256.Sum256([]byte(sql))
		m.Hash = hex.EncodeToString(sum[:8])
		for _, s := range m.Statements {
			if t, ok := table(s); ok {
				m.Tables = append(m.Tables, t)
			}
		}
		out = append(out, m)
	}
	return out, nil
}

// statements splits at semicolons that end a line and drops comment lines.
func statements(sql string) []string {
	var out []string
	var cur strings.Builder
	for line := range strings.Lines(sql) {
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "--") || trimmed == "" && cur.Len() == 0 {
			continue
		}
		if body, ok := strings.CutSuffix(trimmed, ";"); ok {
			cur.WriteString(body)
			out = append(out, cur.String())
			cur.Reset()
			continue
		}
		cur.WriteString(line)
	}
	if s := strings.TrimSpace(cur.String()); s != "" {
		out = append(out, s)
	}
	return out
}

var (
	createTable = regexp.MustCompile(`^CREATE TABLE IF NOT EXISTS (\w+)\n\(\n`)
	columnLine  = regexp.MustCompile("^    (`?\\w+`?) ([A-Z].*?),?$")
	ttlLine     = regexp.MustCompile(`(?m)^TTL (.+)$`)
)

// table reads the form that the files are written in: one column a line.
func table(sql string) (Table, bool) {
	m := createTable.FindStringSubmatch(sql)
	if m == nil {
		return Table{}, false
	}
	t := Table{Name: m[1]}
	for line := range strings.Lines(sql[len(m[0]):]) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, ")") {
			break
		}
		if c := columnLine.FindStringSubmatch(line); c != nil && c[1] != "INDEX" {
			t.Columns = append(t.Columns, Column{strings.Trim(c[1], "`"), c[2]})
		}
	}
	if m := ttlLine.FindStringSubmatch(sql); m != nil {
		t.TTL = m[1]
	}
	return t, true
}

// Run applies what the database does not have yet. It may run in several
// processes at once.
func Run(ctx context.Context, db Database, list []Migration, log *slog.Logger) error {
	applied := map[uint32]string{}
	// The first file makes the table that remembers the others.
	if exists, err := strs(ctx, db, "SELECT name FROM system.tables WHERE database = currentDatabase() AND name = 'schema_migrations'"); err != nil {
		return fmt.Errorf("read migrations: %w", err)
	} else if len(exists) > 0 {
		rows, err := db.Query(ctx, "SELECT version, hash FROM schema_migrations FINAL")
		if err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
		defer rows.Close()
		for rows.Next() {
			var v uint32
			var h string
			if err := rows.Scan(&v, &h); err != nil {
				return fmt.Errorf("read migrations: %w", err)
			}
			applied[v] = h
		}
		if err := rows.Err(); err != nil {
			return fmt.Errorf("read migrations: %w", err)
		}
	}
	for _, m := range list {
		if applied[m.Version] == m.Hash {
			continue
		}
		// Tables first, then their changes, then what is made from them: a
		// view may need a column that is new.
		for _, s := range m.Statements {
			if err := db.Exec(ctx, s); err != nil {
				return fmt.Errorf("migration %s: %.60q…: %w", m.Name, s, err)
			}
			if t, ok := table(s); ok && applied[m.Version] != "" {
				if err := follow(ctx, db, t, log); err != nil {
					return fmt.Errorf("migration %s: %w", m.Name, err)
				}
			}
		}
		if err := db.Exec(ctx, fmt.Sprintf("INSERT INTO schema_migrations (version, name, hash) VALUES (%d, '%s', '%s')", m.Version, m.Name, m.Hash)); err != nil {
			return fmt.Errorf("record migration %s: %w", m.Name, err)
		}
		log.Info("migration applied", "name", m.Name, "changed", applied[m.Version] != "")
	}
	return nil
}

// follow adds new columns to a table that was there and sets its retention.
func follow(ctx context.Context, db Database, t Table, log *slog.Logger) error {
	have, err := strs(ctx, db, "SELECT name FROM system.columns WHERE database = currentDatabase() AND table = '"+t.Name+"'")
	if err != nil {
		return fmt.Errorf("columns of %s: %w", t.Name, err)
	}
	after := ""
	for _, c := range t.Columns {
		if !slices.Contains(have, c.Name) {
			sql := fmt.Sprintf("ALTER TABLE %s ADD COLUMN IF NOT EXISTS `%s` %s", t.Name, c.Name, c.Definition)
			if after != "" {
				sql += " AFTER `" + after + "`"
			}
			if err := db.Exec(ctx, sql); err != nil {
				return fmt.Errorf("add column %s.%s: %w", t.Name, c.Name, err)
			}
			log.Info("column added", "table", t.Name, "column", c.Name)
		}
		after = c.Name
	}
	if t.TTL == "" {
		return nil
	}
	engine, err := strs(ctx, db, "SELECT create_table_query FROM system.tables WHERE database = currentDatabase() AND name = '"+t.Name+"'")
	if err != nil {
		return fmt.Errorf("retention of %s: %w", t.Name, err)
	}
	days := regexp.MustCompile(`INTERVAL (\d+) DAY`).FindStringSubmatch(t.TTL)
	if len(engine) == 1 && days != nil && !strings.Contains(engine[0], "toIntervalDay("+days[1]+")") && !strings.Contains(engine[0], "INTERVAL "+days[1]+" DAY") {
		if err := db.Exec(ctx, "ALTER TABLE "+t.Name+" MODIFY TTL "+t.TTL); err != nil {
			return fmt.Errorf("set retention of %s: %w", t.Name, err)
		}
		log.Info("retention changed", "table", t.Name, "days", days[1])
	}
	return nil
}

func strs(ctx context.Context, db Database, sql string) ([]string, error) {
	rows, err := db.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, rows.Err()
}
