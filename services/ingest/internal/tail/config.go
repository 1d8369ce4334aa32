package tail

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// Config is a set of files of one source.
type Config struct {
	// Paths are files or patterns (*, ?, [a-z]), absolute. They are looked at
	// again and again. Links are followed; a file is read once whatever its
	// names. Compressed files are left out.
	Paths []string `yaml:"paths"`
	// Exclude are patterns of what Paths must not take, matched with the whole
	// path, or with the name if they hold no slash.
	Exclude []string `yaml:"exclude"`
	// Source of the records; default "auto".
	Source string `yaml:"source"`
	// Envelope of the lines: cri, docker, or empty.
	Envelope string `yaml:"envelope"`
	// From is where to begin in files that are there at the very first start:
	// beginning (default) or end. Later ones are read from the beginning.
	From string `yaml:"from"`
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	if len(c.Paths) == 0 {
		return errors.New("tail: paths is empty")
	}
	for _, p := range c.Paths {
		if _, err := filepath.Match(p, ""); err != nil || !filepath.IsAbs(p) {
			return fmt.Errorf("tail paths: %q is no absolute path or pattern", p)
		}
	}
	for _, p := range c.Exclude {
		if _, err := filepath.Match(p, ""); err != nil {
			return fmt.Errorf("tail exclude: %q is no pattern", p)
		}
	}
	switch {
	case !slices.Contains([]string{intake.Bare, intake.CRI, intake.Docker}, c.Envelope):
		return fmt.Errorf("tail envelope: %q is neither cri nor docker", c.Envelope)
	case !slices.Contains([]string{"", "beginning", "end"}, c.From):
		return fmt.Errorf("tail from: %q is neither beginning nor end", c.From)
	}
	return nil
}

// compressed are the ends of names that logs have after they were packed.
var compressed = []string{".gz", ".zst", ".bz2", ".xz", ".lz4", ".zip", ".Z"}

func (c *Config) excluded(path string) bool {
	for _, end := range compressed {
		if strings.HasSuffix(path, end) {
			return true
		}
	}
	for _, p := range c.Exclude {
		subject := path
		if !strings.ContainsRune(p, filepath.Separator) {
			subject = filepath.Base(path)
		}
		if ok, _ := filepath.Match(p, subject); ok { // checked by Check
			return true
		}
	}
	return false
}
