package enrich

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// loaded is a threat list in memory.
type loaded struct {
	name, kind string
	note       string // for the column enrichments
	entries    int
	nets       *ranges
	words      map[string]struct{}
}

// bytes is about the memory it takes.
func (l *loaded) bytes() int {
	if l.nets != nil {
		return l.nets.bytes()
	}
	n := 0
	for w := range l.words {
		n += len(w) + 24
	}
	return n
}

// maxBad is the share of lines that may be no entries; a list with more is no
// list, but an error page, say.
const maxBad = 0.2

// errSame says that a list has not changed.
var errSame = errors.New("not changed")

// parse reads a list. A list with too many lines that are no entries, or
// without any entry, is an error.
func parse(l List, data []byte, at time.Time) (*loaded, error) {
	out := &loaded{name: l.Name, kind: l.Kind, note: l.Name + "@" + at.UTC().Format(time.RFC3339)}
	var nets []network
	if l.Kind != kindIP {
		out.words = map[string]struct{}{}
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	bad, all := 0, 0
	for lines.Scan() {
		word := lines.Text()
		if i := strings.IndexAny(word, "#;"); i >= 0 {
			word = word[:i]
		}
		if word = strings.TrimSpace(word); word == "" {
			continue
		}
		if i := strings.IndexAny(word, " \t,"); i > 0 {
			word = word[:i]
		}
		all++
		if l.Kind == kindIP {
			p, err := prefix(word)
			if err != nil || p.Bits() == 0 { // the whole internet is no threat
				bad++
				continue
			}
			nets = append(nets, newNetwork(p, 0))
			continue
		}
		if w := entry(l.Kind, word); w != "" {
			out.words[w] = struct{}{}
		} else {
			bad++
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("list %s: %w", l.Name, err)
	}
	if all == bad || float64(bad) > maxBad*float64(all) {
		return nil, fmt.Errorf("list %s: %d of %d lines are no entries of kind %s", l.Name, bad, all, l.Kind)
	}
	if l.Kind == kindIP {
		out.nets = newRanges(nets)
		out.entries = len(nets)
	} else {
		out.entries = len(out.words)
	}
	return out, nil
}

// entry is a word as it is looked up; "" if it is none of its kind.
func entry(kind, word string) string {
	word = strings.ToLower(word)
	switch kind {
	case kindDomain:
		word = strings.TrimSuffix(strings.TrimPrefix(word, "*."), ".")
		if strings.ContainsAny(word, "/:@<>\"'") || !strings.Contains(word, ".") || len(word) > 253 {
			return ""
		}
	case kindHash:
		if n := len(word); n != 32 && n != 40 && n != 64 && n != 128 {
			return ""
		}
		if _, err := hex.DecodeString(word); err != nil {
			return ""
		}
	case kindPackage:
		if len(word) > 256 || strings.ContainsAny(word, "<>\"'") {
			return ""
		}
		word = packageName(word)
	}
	return word
}

// packageName writes names of packages in one way, as Python's registry does.
func packageName(word string) string {
	name, version, _ := strings.Cut(word, "==")
	name = strings.NewReplacer("_", "-").Replace(name)
	if version == "" {
		return name
	}
	return name + "==" + version
}

// source is where a list comes from, and what it was like.
type source struct {
	list     List
	client   *http.Client
	etag     string
	modified string
	stamp    time.Time // of the file
	size     int64
}

// fetch returns the list if it has changed, else errSame.
func (s *source) fetch(ctx context.Context) (*loaded, error) {
	limit := s.list.MaxBytes
	if limit == 0 {
		limit = 64 << 20
	}
	if s.list.File != "" {
		info, err := os.Stat(s.list.File)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.list.Name, err)
		}
		if info.ModTime().Equal(s.stamp) && info.Size() == s.size {
			return nil, errSame
		}
		f, err := os.Open(s.list.File)
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", s.list.Name, err)
		}
		defer f.Close()
		out, err := s.read(f, limit, info.ModTime())
		if err == nil {
			s.stamp, s.size = info.ModTime(), info.Size()
		}
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.list.URL, nil)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.list.Name, err)
	}
	if s.etag != "" {
		req.Header.Set("If-None-Match", s.etag)
	}
	if s.modified != "" {
		req.Header.Set("If-Modified-Since", s.modified)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.list.Name, err)
	}
	defer res.Body.Close()
	switch res.StatusCode {
	case http.StatusNotModified:
		return nil, errSame
	case http.StatusOK:
	default:
		return nil, fmt.Errorf("list %s: the server says %s", s.list.Name, res.Status)
	}
	out, err := s.read(res.Body, limit, time.Now())
	if err == nil {
		s.etag, s.modified = res.Header.Get("ETag"), res.Header.Get("Last-Modified")
	}
	return out, err
}

func (s *source) read(r io.Reader, limit int64, at time.Time) (*loaded, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", s.list.Name, err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("list %s: more than %d bytes (raise max_bytes)", s.list.Name, limit)
	}
	return parse(s.list, data, at)
}
