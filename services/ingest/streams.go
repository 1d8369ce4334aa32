package ingest

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
	"github.com/vagus-hub/vagus/services/ingest/internal/syslog"
	"github.com/vagus-hub/vagus/services/ingest/internal/tail"
)

// Syslog is one syslog listener; see docs/ingest.md.
type Syslog = syslog.Config

// Tail is a set of files that are followed; see docs/ingest.md.
type Tail = tail.Config

// Pull is a bucket or an API that is pulled; see docs/ingest.md.
type Pull = pull.Config

// sockets are the syslog listeners, with ports of their own.
func (r *receivers) sockets() error {
	if len(r.s.opts.Syslog) == 0 {
		return nil
	}
	in, err := syslog.New(r.s.opts.Syslog, syslog.Options{Hub: r.s, Metrics: r.s.opts.Metrics, Logger: r.s.opts.Logger, Grace: r.s.opts.Grace / 2})
	if err != nil {
		return err
	}
	r.run("syslog", in.Run)
	return nil
}

// files are those that are followed.
func (r *receivers) files() error {
	if len(r.s.opts.Tail) == 0 {
		return nil
	}
	if r.s.opts.Dir == "" {
		return errors.New("ingest options: Tail needs Dir")
	}
	in, err := tail.New(r.s.opts.Tail, tail.Options{Hub: r.s, Dir: filepath.Join(r.s.opts.Dir, "tail"), Metrics: r.s.opts.Metrics, Logger: r.s.opts.Logger, Grace: r.s.opts.Grace / 2})
	if err != nil {
		return fmt.Errorf("tail: %w", err)
	}
	r.run("tail", in.Run)
	return nil
}

// pulls are the buckets and APIs that are pulled.
func (r *receivers) pulls() error {
	if len(r.s.opts.Pull) == 0 {
		return nil
	}
	if r.s.opts.Dir == "" {
		return errors.New("ingest options: Pull needs Dir")
	}
	in, err := pull.New(r.s.opts.Pull, puller.Options{Hub: r.s, Dir: filepath.Join(r.s.opts.Dir, "pull"), Metrics: r.s.opts.Metrics, Logger: r.s.opts.Logger, Grace: r.s.opts.Grace / 2})
	if err != nil {
		return err
	}
	r.run("pull", in.Run)
	return nil
}
