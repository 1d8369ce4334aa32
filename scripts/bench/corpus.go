package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/sources"
)

// share is how much of the corpus one recording makes up, by events.
type share struct {
	source  string
	files   []string
	percent int
}

// mix is what an AI stack logs: mostly requests at the gateway in front of the
// models and calls of the control plane, some hosts, and, with their texts, the
// calls of the models themselves.
var mix = []share{
	{"nginx.access", []string{"vagus_json.ndjson"}, 23},
	{"nginx.access", []string{"combined.log"}, 46},
	{"kubernetes.audit", []string{"audit.ndjson"}, 19},
	{"microsoft.sysmon", []string{"otrf.ndjson", "synthetic_model_server.ndjson"}, 6},
	{"opentelemetry.genai", []string{"openai_v2.ndjson", "openllmetry.ndjson", "agent.ndjson"}, 5},
	{"litellm.proxy", []string{"standard_logging.ndjson"}, 1},
}

// bodyBytes is the size of one request, about.
const bodyBytes = 960 << 10

// body is one request, built beforehand.
type body struct {
	source  string
	data    []byte
	records int
}

// suspicious finds the recorded records that show an attack. The recordings
// hold many of them, for the rules' sake; in the corpus one in attackEvery of
// them stays, so that the hub raises alerts as it does in life.
var suspicious = regexp.MustCompile(`198\.51\.100\.|203\.0\.113\.|"subresource":"(exec|attach)|privileged|[Ee]ncodedCommand| -enc |lsass|anonymous|"resource":"secrets"`)

const attackEvery = 200

var earlyStage = regexp.MustCompile(`"stage": ?"(RequestReceived|ResponseStarted)"`)

// makeCorpus is a fixed sequence of n bodies. Every record has ids, times and
// client addresses of its own; times lie in the minute before now.
func makeCorpus(n int, now time.Time) ([]body, error) {
	rng := rand.New(rand.NewPCG(1, 2))
	templates := make([][]template, len(mix))
	for i, s := range mix {
		var err error
		if templates[i], err = load(s); err != nil {
			return nil, err
		}
	}
	// The share that is furthest behind comes next.
	out, sent := []body{}, make([]float64, len(mix))
	for range n {
		next := 0
		for i, s := range mix {
			if sent[i]/float64(s.percent) < sent[next]/float64(mix[next].percent) {
				next = i
			}
		}
		b := fill(rng, mix[next].source, templates[next], now)
		sent[next] += float64(b.records)
		out = append(out, b)
	}
	return out, nil
}

// template is a recorded record.
type template struct {
	line   []byte
	attack bool
}

func load(s share) ([]template, error) {
	var out []template
	for _, file := range s.files {
		data, err := sources.FS.ReadFile(path.Join(s.source, "testdata", file))
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(data) {
			line = bytes.TrimSpace(line)
			lines := [][]byte{line}
			if s.source == "opentelemetry.genai" {
				if lines, err = splitSpans(line); err != nil {
					return nil, fmt.Errorf("%s: %w", file, err)
				}
			}
			for _, l := range lines {
				// The API server logs a request at two stages and the mapping keeps
				// the one with the answer: the corpus holds that one only, so that
				// each of its records becomes an event.
				if len(l) > 0 && !earlyStage.Match(l) {
					out = append(out, template{l, suspicious.Match(l)})
				}
			}
		}
	}
	return out, nil
}

// splitSpans makes one export request a span, so that a record is an event.
func splitSpans(line []byte) (out [][]byte, err error) {
	type object = map[string]json.RawMessage
	var request struct{ ResourceSpans []object }
	if err := json.Unmarshal(line, &request); err != nil {
		return nil, err
	}
	for _, resource := range request.ResourceSpans {
		var scopes []object
		if err := json.Unmarshal(resource["scopeSpans"], &scopes); err != nil {
			return nil, err
		}
		for _, scope := range scopes {
			var spans []json.RawMessage
			if err := json.Unmarshal(scope["spans"], &spans); err != nil {
				return nil, err
			}
			for _, span := range spans {
				one, err := json.Marshal(map[string]any{"resourceSpans": []any{map[string]any{
					"resource": resource["resource"], "scopeSpans": []any{map[string]any{"scope": scope["scope"], "spans": []any{span}}},
				}}})
				if err != nil {
					return nil, err
				}
				out = append(out, one)
			}
		}
	}
	return out, nil
}

func fill(rng *rand.Rand, source string, templates []template, now time.Time) body {
	b := body{source: source}
	for len(b.data) < bodyBytes {
		t := templates[rng.IntN(len(templates))]
		if t.attack && rng.IntN(attackEvery) != 0 {
			continue
		}
		b.data = append(b.data, fresh(rng, source, t.line, now)...)
		b.data = append(b.data, '\n')
		b.records++
	}
	return b
}

var (
	ids     = regexp.MustCompile(`"(request_id|auditID|id|litellm_call_id|trace_id|ProcessGuid|traceId|spanId)": ?"[^"]*"`)
	seconds = regexp.MustCompile(`"(msec|startTime|endTime|completionStartTime)": ?\d+\.\d+`)
	nanos   = regexp.MustCompile(`"(startTimeUnixNano|endTimeUnixNano)": ?"\d+"`)
	stamps  = regexp.MustCompile(`"(requestReceivedTimestamp|stageTimestamp)": ?"[^"]*"`)
	utc     = regexp.MustCompile(`"UtcTime": ?"[^"]*"`)
	local   = regexp.MustCompile(`\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\]`)
	client  = regexp.MustCompile(`192\.0\.2\.\d+`)
)

// fresh gives a recorded record ids and times of its own.
func fresh(rng *rand.Rand, source string, line []byte, now time.Time) []byte {
	at := now.Add(-time.Duration(rng.IntN(60_000)) * time.Millisecond).UTC()
	s := string(line)
	put := func(pattern *regexp.Regexp, value func() string) {
		s = pattern.ReplaceAllStringFunc(s, func(m string) string { return m[:strings.Index(m, ":")+1] + value() })
	}
	put(ids, func() string { return `"` + hexDigits(rng, 32) + `"` })
	s = client.ReplaceAllString(s, "192.0.2."+strconv.Itoa(rng.IntN(250)+1))
	switch source {
	case "nginx.access", "litellm.proxy":
		put(seconds, func() string { return strconv.FormatFloat(float64(at.UnixMilli())/1000, 'f', 3, 64) })
		s = local.ReplaceAllString(s, at.Format("[02/Jan/2006:15:04:05 +0000]"))
	case "kubernetes.audit":
		put(stamps, func() string { return at.Format(`"2006-01-02T15:04:05.000000Z"`) })
	case "microsoft.sysmon":
		put(utc, func() string { return at.Format(`"2006-01-02 15:04:05.000"`) })
	case "opentelemetry.genai":
		put(nanos, func() string { return `"` + strconv.FormatInt(at.UnixNano(), 10) + `"` })
	}
	return []byte(s)
}

func hexDigits(rng *rand.Rand, n int) string {
	const digits = "0123456789abcdef"
	b := make([]byte, n)
	for i := range b {
		b[i] = digits[rng.IntN(16)]
	}
	return string(b)
}

// describe says what the corpus is.
func describe(bodies []body) (text string, bytesEach float64) {
	records, size := 0, 0
	for _, b := range bodies {
		records += b.records
		size += len(b.data)
	}
	bytesEach = float64(size) / float64(records)
	var parts []string
	for _, s := range mix {
		parts = append(parts, fmt.Sprintf("%d %% %s (%s)", s.percent, s.source, strings.Join(s.files, ", ")))
	}
	return fmt.Sprintf("corpus: %s; %d records in %d bodies, %.0f bytes a record", strings.Join(parts, ", "), records, len(bodies), bytesEach), bytesEach
}
