// Package embedded runs a ClickHouse server beside the product without any
// installation: it fetches ClickHouse's in-process engine once, starts it in a
// supervised child process and serves ClickHouse's HTTP interface on loopback,
// so that clickhouse-go, Grafana's ClickHouse data source and curl speak to it
// as to any server.
//
// The program that calls Start must also be able to be the child: with the
// default Options.Command its own binary is started again with the argument
// `clickhouse-engine` and has to call RunChild with its standard input.
package embedded

import (
	"fmt"
	"log/slog"
	"os"
	"time"
)

// defaultMaxMemory bounds the engine when Options.MaxMemory is zero, in bytes.
const defaultMaxMemory = 2 << 30

// User is an account of the HTTP interface.
type User struct {
	Name     string
	Password string
	// ReadOnly limits the account to SELECT, SHOW, DESCRIBE, EXISTS and EXPLAIN.
	ReadOnly bool
}

// Options says how to run an engine. The zero value lacks DataDir and Users.
type Options struct {
	// DataDir is where the engine keeps its data. One engine owns it at a time.
	DataDir string
	// CacheDir is where fetched libraries are kept; empty is DefaultCacheDir.
	CacheDir string
	// Library is the path of a libchdb that is there already; empty fetches
	// the pinned one.
	Library string
	// Addr is the listening address; empty is a free port of 127.0.0.1.
	Addr string
	// Users are the accounts, at least one.
	Users []User
	// MaxMemory bounds the memory of queries, inserts and merges together, in
	// bytes; zero is 2 GiB.
	MaxMemory int64
	// Command starts the child process; empty is the program itself with the
	// argument clickhouse-engine. Secrets are never put there.
	Command []string
	// Logger takes what the child and its supervision have to say; nil drops it.
	Logger *slog.Logger
	// OnProgress is told what a fetch does; nil is fine.
	OnProgress func(Progress)
	// LockWait is how long to wait for another owner of DataDir to let go, as a
	// predecessor does that was told to stop; zero is ten seconds.
	LockWait time.Duration
	// StartTimeout bounds each start of the child; zero is two minutes.
	StartTimeout time.Duration
}

func (o *Options) complete() error {
	if o.DataDir == "" {
		return fmt.Errorf("start clickhouse engine: no data directory given")
	}
	if len(o.Users) == 0 {
		return fmt.Errorf("start clickhouse engine: no user given")
	}
	for _, u := range o.Users {
		if u.Name == "" || u.Password == "" {
			return fmt.Errorf("start clickhouse engine: user %q: a name and a password are needed", u.Name)
		}
	}
	if o.Addr == "" {
		o.Addr = "127.0.0.1:0"
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if len(o.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return fmt.Errorf("start clickhouse engine: find own program: %w", err)
		}
		o.Command = []string{self, "clickhouse-engine"}
	}
	if o.LockWait == 0 {
		o.LockWait = 10 * time.Second
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 2 * time.Minute
	}
	return nil
}
