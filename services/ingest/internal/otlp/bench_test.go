package otlp

import (
	"context"
	"fmt"
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	logscol "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	metricscol "go.opentelemetry.io/proto/otlp/collector/metrics/v1"
	tracecol "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	metricspb "go.opentelemetry.io/proto/otlp/metrics/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
)

const benchRecords = 1000

func str(key, v string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: v}}}
}

func num(key string, v int64) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_IntValue{IntValue: v}}}
}

func benchResource() (*resourcepb.Resource, *commonpb.InstrumentationScope) {
	return &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
		str("service.name", "rag-web"), str("service.version", "1.4.2"), str("host.name", "gpu-node-1"), str("k8s.namespace.name", "ml-serve"),
		str("k8s.pod.name", "rag-web-5c9"), str("deployment.environment.name", "production"), str("telemetry.sdk.language", "go"),
	}}, &commonpb.InstrumentationScope{Name: "example.com/rag/web", Version: "1.0.0"}
}

func benchLogs(n int) proto.Message {
	resource, scope := benchResource()
	var list []*logspb.LogRecord
	for i := range n {
		list = append(list, &logspb.LogRecord{
			TimeUnixNano: 1767225601184000000 + uint64(i), ObservedTimeUnixNano: 1767225601185000000, SeverityNumber: 9, SeverityText: "INFO",
			Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: fmt.Sprintf("POST /v1/chat/completions answered 200 in %d ms", i)}},
			Attributes: []*commonpb.KeyValue{
				str("http.request.method", "POST"), str("url.path", "/v1/chat/completions"), num("http.response.status_code", 200),
				str("client.address", "192.0.2.20"), str("enduser.id", "alice@example.com"), str("user_agent.original", "openai-python/2.1 CPython/3.13"),
			},
			TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"), Flags: 1,
		})
	}
	return &logscol.ExportLogsServiceRequest{ResourceLogs: []*logspb.ResourceLogs{{Resource: resource, ScopeLogs: []*logspb.ScopeLogs{{Scope: scope, LogRecords: list}}}}}
}

func benchSpans(n int) proto.Message {
	resource, scope := benchResource()
	var list []*tracepb.Span
	for i := range n {
		list = append(list, &tracepb.Span{
			TraceId: []byte("0123456789abcdef"), SpanId: []byte("01234567"), ParentSpanId: []byte("76543210"), Name: "chat chat-small", Kind: tracepb.Span_SPAN_KIND_CLIENT,
			StartTimeUnixNano: 1767225601184000000 + uint64(i), EndTimeUnixNano: 1767225603902000000,
			Attributes: []*commonpb.KeyValue{
				str("gen_ai.operation.name", "chat"), str("gen_ai.provider.name", "openai"), str("gen_ai.request.model", "chat-small"),
				str("gen_ai.response.model", "chat-small-2026"), num("gen_ai.usage.input_tokens", 640), num("gen_ai.usage.output_tokens", 172),
				str("gen_ai.input.messages", `[{"role":"user","parts":[{"type":"text","content":"Which region has the most orders this week, and why?"}]}]`),
				str("server.address", "models.example.com"), num("server.port", 443),
			},
			Status: &tracepb.Status{Code: tracepb.Status_STATUS_CODE_OK},
		})
	}
	return &tracecol.ExportTraceServiceRequest{ResourceSpans: []*tracepb.ResourceSpans{{Resource: resource, ScopeSpans: []*tracepb.ScopeSpans{{Scope: scope, Spans: list}}}}}
}

func benchMetrics(n int) proto.Message {
	resource, scope := benchResource()
	var list []*metricspb.Metric
	for i := range n {
		sum := 12.5
		list = append(list, &metricspb.Metric{Name: "gen_ai.client.token.usage", Unit: "{token}", Data: &metricspb.Metric_Histogram{Histogram: &metricspb.Histogram{
			AggregationTemporality: metricspb.AggregationTemporality_AGGREGATION_TEMPORALITY_CUMULATIVE,
			DataPoints: []*metricspb.HistogramDataPoint{{
				StartTimeUnixNano: 1767225601184000000, TimeUnixNano: 1767225603902000000 + uint64(i), Count: 20, Sum: &sum,
				BucketCounts: []uint64{1, 2, 3, 4, 5, 3, 2}, ExplicitBounds: []float64{1, 4, 16, 64, 256, 1024},
				Attributes: []*commonpb.KeyValue{str("gen_ai.operation.name", "chat"), str("gen_ai.request.model", "chat-small"), str("gen_ai.token.type", "input")},
			}},
		}}})
	}
	return &metricscol.ExportMetricsServiceRequest{ResourceMetrics: []*metricspb.ResourceMetrics{{Resource: resource, ScopeMetrics: []*metricspb.ScopeMetrics{{Scope: scope, Metrics: list}}}}}
}

func BenchmarkLogs(b *testing.B) {
	benchmark(b, 0, benchLogs(benchRecords), official[logscol.ExportLogsServiceRequest])
}
func BenchmarkSpans(b *testing.B) {
	benchmark(b, 1, benchSpans(benchRecords), official[tracecol.ExportTraceServiceRequest])
}
func BenchmarkMetrics(b *testing.B) {
	benchmark(b, 2, benchMetrics(benchRecords), official[metricscol.ExportMetricsServiceRequest])
}

// drain is a sink that forgets.
type drain struct{ o out }

func (d *drain) out([]byte) *out { return &d.o }
func (d *drain) full(_ context.Context, o *out) error {
	o.body = o.body[:0]
	o.frames.Reset()
	return nil
}

// official decodes into the official types and writes each request as JSON,
// which is less than one document a record.
func official[T any, P interface {
	*T
	proto.Message
}](body []byte) error {
	m := P(new(T))
	if err := proto.Unmarshal(body, m); err != nil {
		return err
	}
	_, err := protojson.MarshalOptions{UseEnumNumbers: true}.Marshal(m)
	return err
}

// benchmark compares the walk with the official types; figures are per record.
func benchmark(b *testing.B, which int, m proto.Message, other func([]byte) error) {
	body, err := proto.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	tables := newTables()
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchRecords, "ns/record")
		})
	}
	to := &drain{}
	s := newSplit(newSignals(tables)[which], tables, to)
	run("walk", func() error {
		s.total = 1 << 30
		err := s.protobuf(context.Background(), body)
		_ = to.full(context.Background(), &to.o)
		return err
	})
	text := asOTLPJSON(b, m)
	run("json", func() error {
		s.total = 1 << 30
		err := s.json(context.Background(), text)
		_ = to.full(context.Background(), &to.o)
		return err
	})
	run("protojson", func() error { return other(body) })
}
