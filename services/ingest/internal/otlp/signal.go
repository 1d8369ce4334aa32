package otlp

import "github.com/vagus-hub/vagus/services/ingest/internal/intake"

// signal is one of the three things that OTLP carries.
type signal struct {
	service  string // of gRPC
	path     string // of HTTP
	envelope string
	rejected string // field of partialSuccess
	// keys of the lists of resources, scopes and records
	resources, scopes, records string
	message                    *message
	times                      []int // numbers of a record's time stamps; none: it always has one
}

// signals are made once a receiver.
func newSignals(t *tables) []*signal {
	return []*signal{
		{
			service: "opentelemetry.proto.collector.logs.v1.LogsService", path: "/v1/logs", envelope: intake.OTLPLog, rejected: "rejectedLogRecords",
			resources: "resourceLogs", scopes: "scopeLogs", records: "logRecords", message: t.log, times: []int{1, 11},
		},
		{
			service: "opentelemetry.proto.collector.trace.v1.TraceService", path: "/v1/traces", envelope: intake.OTLPSpan, rejected: "rejectedSpans",
			resources: "resourceSpans", scopes: "scopeSpans", records: "spans", message: t.span, times: []int{7, 8},
		},
		{
			service: "opentelemetry.proto.collector.metrics.v1.MetricsService", path: "/v1/metrics", envelope: intake.OTLPMetric, rejected: "rejectedDataPoints",
			resources: "resourceMetrics", scopes: "scopeMetrics", records: "metrics", message: t.metric,
		},
	}
}
