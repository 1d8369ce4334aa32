package e2e

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// keepLong keeps events whose time is that of the recording, in years to come,
// too.
const keepLong = "store: {events_days: 3650}\n"

// TestAuto sends the samples of many products without saying whose they are:
// each record becomes events of its own source. Beside it a table that ingest
// cuts into records of a header and many lines, under its name.
func TestAuto(t *testing.T) {
	samples := map[string]string{
		"falco.alerts":       "synthetic_falco.ndjson",
		"kong.ai_gateway":    "http_log.ndjson",
		"kubernetes.audit":   "audit.ndjson",
		"litellm.proxy":      "standard_logging.ndjson",
		"mcp.audit":          "",
		"microsoft.sysmon":   "",
		"nginx.access":       "",
		"milvus.access":      "",
		"opa.decision":       "",
		"qdrant.access":      "",
		"suricata.eve":       "",
		"tensorflow.serving": "",
		"vllm.server":        "",
		"wazuh.alerts":       "",
	}
	h := start(t, withConfig(keepLong))
	sent := 0
	for source, name := range samples {
		if name == "" {
			name = firstSample(t, source)
		}
		body, err := os.ReadFile(filepath.Join("..", "..", "..", "schemas", "sources", source, "testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		r := h.send("auto", "auto-"+source, body)
		if r.Accepted == 0 || r.Dead > 0 {
			t.Errorf("%s: %d records taken, %d dead", source, r.Accepted, r.Dead)
		}
		sent += r.Accepted
	}
	var table bytes.Buffer
	table.WriteString("#separator \\x09\n#unset_field\t-\n#path\tconn\n#fields\tts\tuid\tid.orig_h\tid.orig_p\tid.resp_h\tid.resp_p\tproto\n#types\ttime\tstring\taddr\tport\taddr\tport\tenum\n")
	const lines = 1200
	for n := range lines {
		fmt.Fprintf(&table, "1795371702.%06d\tC%d\t192.0.2.7\t40000\t203.0.113.9\t443\ttcp\n", n, n)
	}
	if r := h.send("zeek.logs", "zeek", table.Bytes()); r.Accepted != 3 {
		t.Errorf("%d lines of a table came as %d records", lines, r.Accepted)
	}
	rep := h.ledger()
	for _, s := range rep.Sources {
		if s.Dead > 0 || s.Source == "auto" && s.Received != uint64(sent) {
			t.Errorf("%d records sent; the ledger: %+v\n%s", sent, s, h.cli("dead", "list"))
		}
	}
	got := map[string]int{}
	for _, row := range h.query("SELECT source, toUInt32(count()) AS n, toUInt32(uniqExact(event_uid)) AS distinct FROM events GROUP BY source") {
		got[row["source"].(string)] = int(row["n"].(float64))
		if row["n"] != row["distinct"] {
			t.Errorf("%v: %v events, %v distinct", row["source"], row["n"], row["distinct"])
		}
	}
	if got["zeek.logs"] != lines {
		t.Errorf("%d lines of a table became %d events", lines, got["zeek.logs"])
	}
	delete(got, "zeek.logs")
	if have, want := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(samples)); !slices.Equal(have, want) {
		t.Errorf("events of %v\nwant %v", have, want)
	}
}

// firstSample is the first file of lines among a source's samples.
func firstSample(t *testing.T, source string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "schemas", "sources", source, "testdata", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if strings.HasSuffix(f, ".ndjson") || strings.HasSuffix(f, ".log") {
			return filepath.Base(f)
		}
	}
	t.Fatalf("%s has no sample", source)
	return ""
}
