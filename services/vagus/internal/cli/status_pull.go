package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// pulled is one source that the hub pulls.
type pulled struct {
	Name        string     `json:"name"`
	Kind        string     `json:"kind"`
	LastSuccess *time.Time `json:"last_success,omitempty"`
	LagSeconds  float64    `json:"lag_seconds"`
	Error       string     `json:"error,omitempty"` // its class; the log has the rest
}

var metricLine = regexp.MustCompile(`^(vagus_pull_[a-z_]+)\{name="([^"]*)",(?:kind|class)="([^"]*)"\} (\S+)$`)

// pulls asks the hub's metrics. A hub whose metrics cannot be read here (its
// certificate is not trusted, say) has none.
func pulls(ctx context.Context, ingest string) []pulled {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ingest+"/metrics", nil)
	if err != nil {
		return nil
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	return parsePulls(io.LimitReader(resp.Body, 16<<20))
}

func parsePulls(r io.Reader) []pulled {
	found := map[string]*pulled{}
	at := func(name string) *pulled {
		if found[name] == nil {
			found[name] = &pulled{Name: name}
		}
		return found[name]
	}
	for scan := bufio.NewScanner(r); scan.Scan(); {
		m := metricLine.FindStringSubmatch(scan.Text())
		if m == nil {
			continue
		}
		v, err := strconv.ParseFloat(m[4], 64)
		if err != nil {
			continue
		}
		switch m[1] {
		case "vagus_pull_up":
			at(m[2]).Kind = m[3]
		case "vagus_pull_lag_seconds":
			at(m[2]).LagSeconds = v
		case "vagus_pull_last_success_seconds":
			if v > 0 {
				t := time.UnixMilli(int64(v * 1000)).UTC()
				at(m[2]).LastSuccess = &t
			}
		case "vagus_pull_error":
			if v == 1 {
				at(m[2]).Error = m[3]
			}
		}
	}
	var out []pulled
	for _, p := range found {
		out = append(out, *p)
	}
	slices.SortFunc(out, func(a, b pulled) int { return strings.Compare(a.Name, b.Name) })
	return out
}

func printPulls(w io.Writer, all []pulled) error {
	if len(all) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	t := newTable(w, "PULLED", "KIND", "LAST SUCCESS", "BEHIND", "FAILS WITH")
	for _, p := range all {
		last, fails := "-", "-"
		if p.LastSuccess != nil {
			last = time.Since(*p.LastSuccess).Round(time.Second).String() + " ago"
		}
		if p.Error != "" {
			fails = p.Error
		}
		t.row(p.Name, p.Kind, last, time.Duration(p.LagSeconds*float64(time.Second)).Round(time.Second), fails)
	}
	return t.flush()
}
