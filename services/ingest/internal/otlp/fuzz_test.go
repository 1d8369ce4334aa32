package otlp

import (
	"encoding/json"
	"testing"
	"unicode/utf8"

	"google.golang.org/protobuf/proto"
)

// FuzzProtobuf: whatever arrives, records are JSON within the limits, and what
// the official types can read is read alike.
func FuzzProtobuf(f *testing.F) {
	for i, m := range []proto.Message{benchSmall(0), benchSmall(1), benchSmall(2)} {
		b, err := proto.Marshal(m)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(uint8(i), b)
	}
	f.Add(uint8(0), []byte{0x0a, 0x04, 0x12, 0x02, 0x12, 0x00})
	f.Add(uint8(1), []byte{0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01})
	tables := newTables()
	signals := newSignals(tables)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		i := int(which) % len(signals)
		c, s, err := splitAll(signals[i], tables, body, false)
		for _, r := range c.records {
			if !json.Valid([]byte(r)) || !utf8.ValidString(r) || len(r) > testLimits.MaxRecord || depth([]byte(r)) > testLimits.MaxDepth {
				t.Fatalf("bad record %q", r)
			}
		}
		m := requests[i]()
		if proto.Unmarshal(body, m) != nil || len(c.bad) > 0 || s.rejected > 0 {
			return
		}
		if err != nil {
			t.Fatalf("refused what is well formed: %v", err)
		}
		compareRecords(t, c.records, expected(t, signals[i], m))
	})
}

// FuzzJSON: an outline that is read gives records that are as valid as the body.
func FuzzJSON(f *testing.F) {
	f.Add(uint8(1), []byte(oneSpan))
	f.Add(uint8(0), []byte(`{"resourceLogs":[{"resource":{"attributes":[]},"schemaUrl":"x","scopeLogs":[{"scope":null,"logRecords":[{},{"a":"\\\""}]}]}]}`))
	f.Add(uint8(2), []byte(`{"resourceMetrics":[{"scopeMetrics":[{"metrics":[{"name":"}"} ,{}]}]}], "x":[1,2]}`))
	f.Add(uint8(0), []byte(`{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"a":[}]}]}]}`))
	tables := newTables()
	signals := newSignals(tables)
	f.Fuzz(func(t *testing.T, which uint8, body []byte) {
		c, _, err := splitAll(signals[int(which)%len(signals)], tables, body, true)
		if !json.Valid(body) {
			return
		}
		for _, r := range c.records {
			if !json.Valid([]byte(r)) {
				t.Fatalf("valid body, err %v, bad record %q", err, r)
			}
		}
	})
}

// benchSmall is a short request of a signal.
func benchSmall(i int) proto.Message {
	return []func(int) proto.Message{benchLogs, benchSpans, benchMetrics}[i](3)
}
