package e2e

import (
	"context"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlplog/otlploggrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/log"
	sdklog "go.opentelemetry.io/otel/sdk/log"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TestOTLP instruments as an application does: OpenTelemetry's SDK sends the
// span of a chat and a log record over gRPC. Both become events.
func TestOTLP(t *testing.T) {
	h := start(t, withConfig("ingest: {otlp: {grpc: '127.0.0.1:0'}}\n"))
	state := h.at()
	if state.OTLPAddr == "" {
		t.Fatal("the hub does not say where it takes OTLP")
	}
	headers := map[string]string{"authorization": "Bearer " + state.IngestToken}
	app := resource.NewSchemaless(attribute.String("service.name", "shop"), attribute.String("host.name", "app-1"))
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	spans, err := otlptracegrpc.New(ctx, otlptracegrpc.WithInsecure(), otlptracegrpc.WithEndpoint(state.OTLPAddr), otlptracegrpc.WithHeaders(headers))
	if err != nil {
		t.Fatal(err)
	}
	traces := sdktrace.NewTracerProvider(sdktrace.WithResource(app), sdktrace.WithBatcher(spans))
	_, span := traces.Tracer("shop").Start(ctx, "chat small-model", trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("gen_ai.operation.name", "chat"),
		attribute.String("gen_ai.provider.name", "openai"),
		attribute.String("gen_ai.request.model", "small-model"),
		attribute.String("gen_ai.response.model", "small-model-2026"),
		attribute.StringSlice("gen_ai.response.finish_reasons", []string{"stop"}),
		attribute.Int("gen_ai.usage.input_tokens", 120),
		attribute.Int("gen_ai.usage.output_tokens", 34),
		attribute.String("gen_ai.input.messages", `[{"role":"user","parts":[{"type":"text","content":"What is in stock?"}]}]`),
	))
	span.End()

	logs, err := otlploggrpc.New(ctx, otlploggrpc.WithInsecure(), otlploggrpc.WithEndpoint(state.OTLPAddr), otlploggrpc.WithHeaders(headers))
	if err != nil {
		t.Fatal(err)
	}
	logger := sdklog.NewLoggerProvider(sdklog.WithResource(app), sdklog.WithProcessor(sdklog.NewBatchProcessor(logs)))
	var rec log.Record
	rec.SetTimestamp(time.Now())
	rec.SetSeverity(log.SeverityError)
	rec.SetBody(attribute.StringValue("payment of order 17 was refused"))
	logger.Logger("shop").Emit(ctx, rec)

	// Shutdown sends what is left and fails unless it was answered well.
	if err := traces.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if err := logger.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}

	for _, s := range h.ledger().Sources {
		if s.Source != "auto" || s.Received != 2 || s.Dead > 0 || s.Rows != 2 {
			t.Errorf("two records sent; the ledger: %+v\n%s", s, h.cli("dead", "list"))
		}
	}
	rows := h.query(`SELECT source, ai_operation, ai_model_name, ai_model_ai_provider,
		toUInt32(message_context_prompt_tokens) AS tokens_in, toUInt32(message_context_completion_tokens) AS tokens_out,
		message_context_prompt_text, trace_span_uid, message, device_hostname FROM events ORDER BY source`)
	if len(rows) != 2 {
		t.Fatalf("want the span and the log, got %v", rows)
	}
	for name, want := range map[string]any{
		"source": "opentelemetry.genai", "ai_operation": "chat", "ai_model_name": "small-model", "ai_model_ai_provider": "openai",
		"tokens_in": 120.0, "tokens_out": 34.0, "message_context_prompt_text": "What is in stock?", "trace_span_uid": span.SpanContext().SpanID().String(),
	} {
		if rows[0][name] != want {
			t.Errorf("span: %s is %v, want %v", name, rows[0][name], want)
		}
	}
	for name, want := range map[string]any{"source": "opentelemetry.logs", "message": "payment of order 17 was refused", "device_hostname": "app-1"} {
		if rows[1][name] != want {
			t.Errorf("log: %s is %v, want %v", name, rows[1][name], want)
		}
	}
}
