package otlp

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	logspb "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracepb "go.opentelemetry.io/proto/otlp/collector/trace/v1"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
)

var testLimits = frame.Limits{MaxRecord: 1 << 20, MaxRecords: 1_000_000, MaxDepth: 64}

// collect is a sink that keeps everything.
type collect struct {
	o       out
	records []string
	bad     []string
}

func (c *collect) out([]byte) *out { return &c.o }

func (c *collect) full(_ context.Context, o *out) error {
	for _, r := range o.frames.Records {
		c.records = append(c.records, string(o.body[r.Off:r.End]))
	}
	for _, b := range o.frames.Bad {
		c.bad = append(c.bad, b.Reason)
	}
	o.body = o.body[:0]
	o.frames.Reset()
	return nil
}

func newSplit(sig *signal, t *tables, to sink) *split {
	return &split{writer: writer{maxDepth: 64}, messages: t, sig: sig, lim: testLimits, total: 256 << 20, sink: to, timed: true}
}

func splitAll(sig *signal, tables *tables, body []byte, asJSON bool) (*collect, *split, error) {
	c := &collect{}
	s := newSplit(sig, tables, c)
	var err error
	if asJSON {
		err = s.json(context.Background(), body)
	} else {
		err = s.protobuf(context.Background(), body)
	}
	_ = c.full(context.Background(), &c.o)
	return c, s, err
}

var requests = []func() proto.Message{
	func() proto.Message { return &logspb.ExportLogsServiceRequest{} },
	func() proto.Message { return &tracepb.ExportTraceServiceRequest{} },
	func() proto.Message { return &metricspb.ExportMetricsServiceRequest{} },
}

var texts = []string{"", "a", "service.name", "gen_ai.usage.input_tokens", "quote \" back \\ slash /", "line\nbreak\t\r\x00\x1f\x7f", "日本 👍 \u2028", "x<script>&"}

var numbers = []uint64{0, 1, 2, 127, 128, 1 << 31, 1<<31 - 1, 1<<32 - 1, 1 << 53, 1<<63 - 1, 1 << 63, math.MaxUint64}

var doubles = []float64{0, math.Copysign(0, -1), 1, -1.5, 0.1, 1e300, 1e-300, 1e21, 123456789012345680, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64}

// random fills a message of whatever type.
func random(r *rand.Rand, m protoreflect.Message, depth int) {
	fields := m.Descriptor().Fields()
	for i := range fields.Len() {
		f := fields.Get(i)
		if r.IntN(3) == 0 || f.Kind() == protoreflect.MessageKind && depth > 9 {
			continue
		}
		switch {
		case f.IsList():
			list := m.Mutable(f).List()
			for range r.IntN(4) {
				if f.Kind() == protoreflect.MessageKind {
					random(r, list.AppendMutable().Message(), depth+1)
				} else {
					list.Append(scalar(r, f))
				}
			}
		case f.Kind() == protoreflect.MessageKind:
			random(r, m.Mutable(f).Message(), depth+1)
		default:
			m.Set(f, scalar(r, f))
		}
	}
}

func scalar(r *rand.Rand, f protoreflect.FieldDescriptor) protoreflect.Value {
	n := numbers[r.IntN(len(numbers))]
	switch f.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(texts[r.IntN(len(texts))])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte("\x00\x01\xfe\xff0123456789abcdef")[:r.IntN(17)])
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(n%2 == 1)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(protoreflect.EnumNumber(int32(n)))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind:
		return protoreflect.ValueOfInt32(int32(n))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(n))
	case protoreflect.Int64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(n))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(doubles[r.IntN(len(doubles))])
	}
	return protoreflect.ValueOfUint64(n)
}

// expected gives what protojson makes of each record, with ids in hex.
func expected(t testing.TB, sig *signal, m proto.Message) []any {
	data, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	decode(t, data, &doc)
	fixIDs(t, doc)
	var records []any
	each := func(v any, f func(map[string]any)) {
		list, _ := v.([]any)
		for _, e := range list {
			f(e.(map[string]any))
		}
	}
	each(doc[sig.resources], func(resource map[string]any) {
		each(resource[sig.scopes], func(scope map[string]any) {
			each(scope[sig.records], func(record map[string]any) {
				one := with(scope, sig.records, record)
				records = append(records, map[string]any{sig.resources: []any{with(resource, sig.scopes, one)}})
			})
		})
	})
	return records
}

// with is a copy of an object whose list has one element.
func with(object map[string]any, list string, element any) map[string]any {
	out := map[string]any{}
	for k, v := range object {
		out[k] = v
	}
	out[list] = []any{element}
	return out
}

func fixIDs(t testing.TB, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			if s, ok := e.(string); ok && (k == "traceId" || k == "spanId" || k == "parentSpanId") {
				raw, err := base64.StdEncoding.DecodeString(s)
				if err != nil {
					t.Fatal(err)
				}
				v[k] = hex.EncodeToString(raw)
				continue
			}
			fixIDs(t, e)
		}
	case []any:
		for _, e := range v {
			fixIDs(t, e)
		}
	}
}

func decode(t testing.TB, data []byte, v any) {
	t.Helper()
	if err := json.Unmarshal(data, v); err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
}

func compareRecords(t *testing.T, got []string, want []any) {
	t.Helper()
	var parsed []any
	for _, r := range got {
		var v any
		decode(t, []byte(r), &v)
		parsed = append(parsed, v)
	}
	if d := cmp.Diff(want, parsed); d != "" {
		t.Errorf("records differ from protojson (-want +got):\n%s", d)
	}
}

// TestDifferential compares the walk with protojson over random messages, in
// the order of the official encoder and shuffled, which must not matter.
func TestDifferential(t *testing.T) {
	tables := newTables()
	for i, sig := range newSignals(tables) {
		t.Run(sig.path, func(t *testing.T) {
			for seed := range uint64(25) {
				r := rand.New(rand.NewPCG(seed, uint64(i)))
				m := requests[i]()
				random(r, m.ProtoReflect(), 0)
				body, err := proto.Marshal(m)
				if err != nil {
					t.Fatal(err)
				}
				want := expected(t, sig, m)
				for name, b := range map[string][]byte{"in order": body, "shuffled": shuffle(r, body, m.ProtoReflect().Descriptor())} {
					c, _, err := splitAll(sig, tables, b, false)
					if err != nil || len(c.bad) > 0 {
						t.Fatalf("seed %d %s: %v %v", seed, name, err, c.bad)
					}
					compareRecords(t, c.records, want)
				}
				// The same request as OTLP-JSON gives the same records.
				c, _, err := splitAll(sig, tables, asOTLPJSON(t, m), true)
				if err != nil {
					t.Fatalf("seed %d as JSON: %v", seed, err)
				}
				compareRecords(t, c.records, want)
				if t.Failed() {
					t.Fatalf("seed %d", seed)
				}
			}
		})
	}
}

func asOTLPJSON(t testing.TB, m proto.Message) []byte {
	data, err := protojson.MarshalOptions{UseEnumNumbers: true, Multiline: true}.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var doc map[string]any
	decode(t, data, &doc)
	fixIDs(t, doc)
	out, err := json.MarshalIndent(doc, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// shuffle writes the same message as an encoder might that keeps only the order
// of each list: fields mixed, scalars twice, messages in two pieces, unknown
// fields between.
func shuffle(r *rand.Rand, b []byte, d protoreflect.MessageDescriptor) []byte {
	queues := map[protowire.Number][][]byte{}
	var order []protowire.Number
	add := func(n protowire.Number, raw []byte) {
		queues[n] = append(queues[n], raw)
		order = append(order, n)
	}
	for len(b) > 0 {
		n, typ, _ := protowire.ConsumeTag(b)
		size := protowire.ConsumeFieldValue(n, typ, b[protowire.SizeTag(n):])
		raw := b[:protowire.SizeTag(n)+size]
		b = b[len(raw):]
		f := d.Fields().ByNumber(n)
		if f.Kind() != protoreflect.MessageKind {
			if !f.IsList() && f.ContainingOneof() == nil && r.IntN(3) == 0 {
				add(n, raw) // an earlier one, which does not count
			}
			add(n, raw)
			continue
		}
		inner, _ := protowire.ConsumeBytes(raw[protowire.SizeTag(n):])
		inner = shuffle(r, inner, f.Message())
		pieces := [][]byte{inner}
		if cut := firstField(inner); !f.IsList() && f.ContainingOneof() == nil && cut > 0 && r.IntN(3) == 0 {
			pieces = [][]byte{inner[:cut], inner[cut:]}
		}
		for _, p := range pieces {
			add(n, protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), p))
		}
	}
	r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
	var out []byte
	for _, n := range order {
		out = append(out, queues[n][0]...)
		queues[n] = queues[n][1:]
		if r.IntN(8) == 0 {
			out = protowire.AppendVarint(protowire.AppendTag(out, 99, protowire.VarintType), 7)
		}
	}
	return out
}

func firstField(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	_, _, n := protowire.ConsumeField(b)
	return max(0, n)
}
