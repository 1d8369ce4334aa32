package main

import (
	"archive/zip"
	"bufio"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

// sigmaFolders are the parts of SigmaHQ's repository whose rules run; only
// Windows has an open corpus of events, so its rules alone are measured.
var sigmaFolders = []string{"rules/windows", "rules-emerging-threats", "rules-threat-hunting"}

// mixes are the ways in which the events of a corpus are chosen. The natural
// mix has few process creations, which most rules are about.
var mixes = []string{"natural", "balanced", "process"}

// corpus writes the events of a folder of Windows events (OTRF's
// Security-Datasets: .zip, .json, .ndjson, .gz, an event a line) as one file a
// mix: every tenth event; at most 1,500 of a log and event id; process
// creations.
type corpus struct {
	out  map[string]*bufio.Writer
	n    int
	seen map[string]int
}

const perKind = 1500

var (
	channel   = regexp.MustCompile(`"Channel"\s*:\s*"([^"]*)"`)
	eventID   = regexp.MustCompile(`"EventID"\s*:\s*"?(\d+)`)
	creations = map[string]bool{"microsoft-windows-sysmon/operational 1": true, "security 4688": true}
)

func (c *corpus) read(r io.Reader) error {
	in := bufio.NewReaderSize(r, 1<<20)
	for {
		line, err := in.ReadBytes('\n')
		if log, id := channel.FindSubmatch(line), eventID.FindSubmatch(line); log != nil && id != nil {
			if err := c.add(strings.ToLower(string(log[1]))+" "+string(id[1]), line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (c *corpus) add(kind string, line []byte) error {
	if line[len(line)-1] != '\n' {
		line = append(line, '\n')
	}
	put := func(mix string, want bool) error {
		if !want {
			return nil
		}
		_, err := c.out[mix].Write(line)
		return err
	}
	c.n++
	c.seen[kind]++
	return errors.Join(put("natural", c.n%10 == 1), put("balanced", c.seen[kind] <= perKind), put("process", creations[kind]))
}

func (c *corpus) file(path string) error {
	if strings.HasSuffix(path, ".zip") {
		z, err := zip.OpenReader(path)
		if err != nil {
			return err
		}
		defer z.Close()
		for _, f := range z.File {
			if !strings.HasSuffix(f.Name, "json") {
				continue
			}
			r, err := f.Open()
			if err != nil {
				return err
			}
			err = c.read(r)
			if err = errors.Join(err, r.Close()); err != nil {
				return err
			}
		}
		return nil
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if strings.HasSuffix(path, ".gz") {
		z, err := gzip.NewReader(f)
		if err != nil {
			return err
		}
		return c.read(z)
	}
	return c.read(f)
}

// sigmaBench measures the rules of a checkout of SigmaHQ/sigma on the events of
// a folder, neither of which is part of this repository.
func sigmaBench(ctx context.Context, bin, sigma, events string) ([]result, error) {
	dir, err := os.MkdirTemp("", "vagus-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := writeMixes(ctx, dir, events); err != nil {
		return nil, fmt.Errorf("bench sigma: read %s: %w", events, err)
	}
	var folders []string
	for _, f := range sigmaFolders {
		folders = append(folders, filepath.Join(sigma, filepath.FromSlash(f)))
	}
	var out []result
	for _, mix := range mixes {
		blocks := filepath.Join(dir, mix+".blocks")
		convert := exec.CommandContext(ctx, bin, "sources", "convert", "-o", blocks, filepath.Join(dir, mix+".ndjson"))
		convert.Stderr = os.Stderr
		if err := convert.Run(); err != nil {
			return nil, fmt.Errorf("bench sigma: convert the %s mix: %w", mix, err)
		}
		var once float64
		for _, way := range []struct {
			name  string
			flags []string
		}{{"", nil}, {"learned.", []string{"--learn"}}, {"copies4.", []string{"--copies", "4"}}} {
			p, err := priceOf(ctx, bin, append(append([]string{"--blocks", blocks}, way.flags...), folders...))
			if err != nil {
				return nil, fmt.Errorf("bench sigma: %s mix: %w", mix, err)
			}
			name := "sigma." + way.name + mix + "."
			if way.name == "copies4." {
				out = append(out, result{name + "rules", p.Rules, "rules"}, result{name + "growth", p.Ns / once, "×"}, result{name + "matches", p.Matches, "matches/event"})
				continue
			}
			if way.name == "" {
				once = p.Ns
				out = append(out, result{name + "rules", p.Rules, "rules"}, result{name + "load", p.Load + p.Compile, "s"})
			}
			out = append(out, result{name + "events_per_second", p.Rate, "events/s"}, result{name + "candidates", p.Candidates, "candidates/event"},
				result{name + "candidate_share", 100 * p.Share, "%"}, result{name + "matches", p.Matches, "matches/event"}, result{name + "allocs", p.Allocs, "allocs/event"})
		}
	}
	return out, nil
}

func writeMixes(ctx context.Context, dir, events string) error {
	c := &corpus{out: map[string]*bufio.Writer{}, seen: map[string]int{}}
	for _, mix := range mixes {
		f, err := os.Create(filepath.Join(dir, mix+".ndjson"))
		if err != nil {
			return err
		}
		defer f.Close()
		c.out[mix] = bufio.NewWriterSize(f, 1<<20)
	}
	err := filepath.WalkDir(events, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		switch filepath.Ext(path) {
		case ".zip", ".json", ".ndjson", ".gz":
			// Corpora hold archives of other things too: what cannot be read is said.
			if err := c.file(path); err != nil {
				fmt.Fprintf(os.Stderr, "left out: %s: %v\n", path, err)
			}
		}
		return nil
	})
	for _, w := range c.out {
		err = errors.Join(err, w.Flush())
	}
	if err == nil && c.n == 0 {
		return errors.New("there are no Windows events (with Channel and EventID) in it")
	}
	fmt.Fprintf(os.Stderr, "%d events of %d kinds\n", c.n, len(c.seen))
	return err
}

// wholePrice is what `vagus rules bench --whole --json` tells.
type wholePrice struct {
	Rules      float64 `json:"rules"`
	Load       float64 `json:"load_seconds"`
	Compile    float64 `json:"compile_seconds"`
	Ns         float64 `json:"ns_per_event"`
	Rate       float64 `json:"events_per_second"`
	Candidates float64 `json:"candidates_per_event"`
	Share      float64 `json:"candidate_share"`
	Matches    float64 `json:"matches_per_event"`
	Allocs     float64 `json:"allocs_per_event"`
}

func priceOf(ctx context.Context, bin string, args []string) (wholePrice, error) {
	var p wholePrice
	cmd := exec.CommandContext(ctx, bin, append([]string{"rules", "bench", "--json", "--whole"}, args...)...)
	cmd.Stderr = os.Stderr
	text, err := cmd.Output()
	if err != nil {
		return p, err
	}
	return p, json.Unmarshal(text, &p)
}
