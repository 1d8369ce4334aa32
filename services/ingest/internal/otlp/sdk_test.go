package otlp

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetricgrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/log"
	"go.opentelemetry.io/otel/metric"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

var testHeaders = map[string]string{"authorization": "Bearer secret"}

func testResource() *resource.Resource {
	return resource.NewSchemaless(attribute.String("service.name", "sdk"), attribute.StringSlice("tags", []string{"a", "b"}))
}

// must fails the test on an error of setting up.
func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// contains looks for records that hold all the words, and are JSON.
func contains(t *testing.T, h *hub, envelope string, words ...string) {
	t.Helper()
	batches, records := h.take()
	if !slices.ContainsFunc(records, func(r string) bool {
		return json.Valid([]byte(r)) && !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(r, w) })
	}) {
		t.Errorf("no record holds %q: %q", words, records)
	}
	for _, b := range batches {
		if b.Envelope != envelope {
			t.Errorf("envelope %q, want %q", b.Envelope, envelope)
		}
	}
}

func TestSDKLogs(t *testing.T) {
	h := newHub(t)
	r := start(t, h)
	exporter := must[*otlploggrpc.Exporter](t)(otlploggrpc.New(t.Context(), otlploggrpc.WithInsecure(), otlploggrpc.WithEndpoint(r.GRPCAddr()),
		otlploggrpc.WithHeaders(testHeaders), otlploggrpc.WithCompressor("gzip")))
	provider := sdklog.NewLoggerProvider(sdklog.WithResource(testResource()), sdklog.WithProcessor(sdklog.NewBatchProcessor(exporter)))
	var rec log.Record
	rec.SetEventName("gen_ai.client.inference.operation.details")
	rec.SetBody(attribute.MapValue(attribute.String("text", "hi"), attribute.Slice("list", attribute.IntValue(7), attribute.ByteSliceValue([]byte{1, 2}))))
	provider.Logger("test").Emit(t.Context(), rec)
	if err := provider.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	contains(t, h, "otlp.log", `"eventName":"gen_ai.client.inference.operation.details"`, `{"bytesValue":"AQI="}`, `{"intValue":"7"}`, `"arrayValue":{"values":[{"stringValue":"a"}`)
}

func TestSDKTraces(t *testing.T) {
	for name, exporter := range map[string]func(t *testing.T, r *Receiver) *otlptrace.Exporter{
		"grpc": func(t *testing.T, r *Receiver) *otlptrace.Exporter {
			return must[*otlptrace.Exporter](t)(otlptracegrpc.New(t.Context(), otlptracegrpc.WithInsecure(), otlptracegrpc.WithEndpoint(r.GRPCAddr()),
				otlptracegrpc.WithHeaders(testHeaders), otlptracegrpc.WithRetry(otlptracegrpc.RetryConfig{
					Enabled: true, InitialInterval: 10 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Minute})))
		},
		"http": func(t *testing.T, r *Receiver) *otlptrace.Exporter {
			return must[*otlptrace.Exporter](t)(otlptracehttp.New(t.Context(), otlptracehttp.WithInsecure(), otlptracehttp.WithEndpoint(r.HTTPAddr()),
				otlptracehttp.WithHeaders(testHeaders), otlptracehttp.WithCompression(otlptracehttp.GzipCompression), otlptracehttp.WithRetry(otlptracehttp.RetryConfig{
					Enabled: true, InitialInterval: 10 * time.Millisecond, MaxInterval: time.Second, MaxElapsedTime: time.Minute})))
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			h.busy = 1 // the exporter must try again, and does
			r := start(t, h)
			provider := sdktrace.NewTracerProvider(sdktrace.WithResource(testResource()), sdktrace.WithBatcher(exporter(t, r)))
			_, span := provider.Tracer("test").Start(t.Context(), "chat small", trace.WithAttributes(attribute.String("gen_ai.operation.name", "chat")))
			span.AddEvent("first token")
			span.End()
			if err := provider.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			contains(t, h, "otlp.span", `"name":"chat small"`, `"traceId":"`+span.SpanContext().TraceID().String()+`"`, `"name":"first token"`)
		})
	}
}

func TestSDKMetrics(t *testing.T) {
	h := newHub(t)
	r := start(t, h)
	exporter := must[*otlpmetricgrpc.Exporter](t)(otlpmetricgrpc.New(t.Context(), otlpmetricgrpc.WithInsecure(), otlpmetricgrpc.WithEndpoint(r.GRPCAddr()),
		otlpmetricgrpc.WithHeaders(testHeaders)))
	provider := sdkmetric.NewMeterProvider(sdkmetric.WithResource(testResource()), sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
	meter := provider.Meter("test")
	tokens := must[metric.Int64Histogram](t)(meter.Int64Histogram("gen_ai.client.token.usage"))
	tokens.Record(t.Context(), 640)
	gpu := must[metric.Float64Gauge](t)(meter.Float64Gauge("DCGM_FI_DEV_GPU_UTIL"))
	gpu.Record(t.Context(), 97.5)
	if err := provider.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	contains(t, h, "otlp.metric", `"name":"gen_ai.client.token.usage"`, `"bucketCounts":["0",`, `"sum":640`)
	contains(t, h, "otlp.metric", `"name":"DCGM_FI_DEV_GPU_UTIL"`, `"asDouble":97.5`)
}
