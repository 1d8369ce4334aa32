package otlp

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

// TestTables compares the tables with the official descriptors: every field,
// its name, kind and presence.
func TestTables(t *testing.T) {
	tables := newTables()
	seen := map[protoreflect.FullName]bool{}
	for _, tc := range []struct {
		m    *message
		want proto.Message
	}{
		{tables.log, &logspb.LogRecord{}},
		{tables.span, &tracepb.Span{}},
		{tables.metric, &metricspb.Metric{}},
		{tables.resource, &resourcepb.Resource{}},
		{tables.scope, &commonpb.InstrumentationScope{}},
	} {
		compareMessage(t, tc.m, tc.want.ProtoReflect().Descriptor(), seen)
	}
	if len(seen) < 20 {
		t.Errorf("only %d messages compared", len(seen))
	}
}

func compareMessage(t *testing.T, m *message, want protoreflect.MessageDescriptor, seen map[protoreflect.FullName]bool) {
	if seen[want.FullName()] {
		return
	}
	seen[want.FullName()] = true
	fields := want.Fields()
	known := 0
	for _, f := range m.fields {
		if f.kind != none {
			known++
		}
	}
	if known != fields.Len() {
		t.Errorf("%s: %d fields, want %d", want.FullName(), known, fields.Len())
	}
	kinds := map[protoreflect.Kind]kind{
		protoreflect.StringKind: text, protoreflect.BoolKind: boolean, protoreflect.EnumKind: i32, protoreflect.Int32Kind: i32,
		protoreflect.Uint32Kind: u32, protoreflect.Int64Kind: i64, protoreflect.Uint64Kind: u64, protoreflect.Sint32Kind: z32,
		protoreflect.Fixed32Kind: f32, protoreflect.Fixed64Kind: f64, protoreflect.Sfixed64Kind: s64, protoreflect.DoubleKind: double,
		protoreflect.MessageKind: sub, protoreflect.BytesKind: octets,
	}
	for i := range fields.Len() {
		d := fields.Get(i)
		n := int(d.Number())
		if n >= len(m.fields) || m.fields[n].kind == none {
			t.Errorf("%s is missing", d.FullName())
			continue
		}
		f := m.fields[n]
		kind := kinds[d.Kind()]
		switch d.Name() {
		case "trace_id", "span_id", "parent_span_id":
			kind = hexBytes
		}
		real := d.ContainingOneof() != nil && !d.ContainingOneof().IsSynthetic()
		always := real || d.HasPresence() && d.Kind() != protoreflect.MessageKind
		if f.name != `"`+d.JSONName()+`":` || f.kind != kind || f.repeated != d.IsList() || f.group != real || f.always != always {
			t.Errorf("%s: %+v, want %s kind %d list %v oneof %v always %v", d.FullName(), f, d.JSONName(), kind, d.IsList(), real, always)
		}
		if kind == sub {
			compareMessage(t, f.msg, d.Message(), seen)
		}
	}
}
