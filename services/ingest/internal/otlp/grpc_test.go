package otlp

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	logscol "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	logspb "go.opentelemetry.io/proto/otlp/logs/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"

	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

func client(t testing.TB, r *Receiver, opts ...grpc.DialOption) *grpc.ClientConn {
	t.Helper()
	opts = append([]grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}, opts...)
	conn, err := grpc.NewClient(r.GRPCAddr(), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

func withToken(t testing.TB, token string) context.Context {
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
}

// logsOf makes one resource a service, with one log each.
func logsOf(at uint64, services ...string) *logscol.ExportLogsServiceRequest {
	out := &logscol.ExportLogsServiceRequest{}
	for _, name := range services {
		out.ResourceLogs = append(out.ResourceLogs, &logspb.ResourceLogs{
			Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{str("service.name", name), num("gpu", 3)}},
			ScopeLogs: []*logspb.ScopeLogs{{LogRecords: []*logspb.LogRecord{{
				TimeUnixNano: at, Body: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "hello from " + name}},
			}}}},
		})
	}
	return out
}

func TestGRPCExport(t *testing.T) {
	h := newHub(t)
	conn := client(t, start(t, h))
	logs := logscol.NewLogsServiceClient(conn)
	resp, err := logs.Export(withToken(t, "secret"), logsOf(1, "web"))
	if err != nil || resp.GetPartialSuccess() != nil {
		t.Fatal(resp, err)
	}
	batches, records := h.take()
	if len(batches) != 1 || batches[0].Source != intake.Auto || batches[0].Envelope != intake.OTLPLog || batches[0].Auth != "all" || batches[0].Remote != "127.0.0.1" {
		t.Errorf("batches %+v", batches)
	}
	want := `{"resourceLogs":[{"resource":{"attributes":[{"key":"service.name","value":{"stringValue":"web"}},{"key":"gpu","value":{"intValue":"3"}}]},` +
		`"scopeLogs":[{"logRecords":[{"timeUnixNano":"1","body":{"stringValue":"hello from web"}}]}]}]}`
	if len(records) != 1 || records[0] != want {
		t.Errorf("got  %s\nwant %s", records, want)
	}
}

func TestGRPCRefuses(t *testing.T) {
	deep := &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: "x"}}
	for range 30 {
		deep = &commonpb.AnyValue{Value: &commonpb.AnyValue_ArrayValue{ArrayValue: &commonpb.ArrayValue{Values: []*commonpb.AnyValue{deep}}}}
	}
	mixed := logsOf(1, "web")
	scope := mixed.ResourceLogs[0].ScopeLogs[0]
	scope.LogRecords = append(scope.LogRecords, &logspb.LogRecord{Body: deep},
		&logspb.LogRecord{SeverityText: strings.Repeat("x", 2<<20)})
	for name, tc := range map[string]struct {
		token    string
		hub      func(*hub)
		send     proto.Message
		code     codes.Code
		retry    bool
		rejected int64
		records  int
	}{
		"no token":    {send: logsOf(1, "web"), code: codes.Unauthenticated},
		"wrong token": {token: "other", send: logsOf(1, "web"), code: codes.Unauthenticated},
		"not for it":  {token: "vllm-secret", send: logsOf(1, "web"), code: codes.PermissionDenied},
		"busy":        {token: "secret", hub: func(h *hub) { h.busy = 1 }, send: logsOf(1, "web"), code: codes.ResourceExhausted, retry: true},
		"memory":      {token: "secret", hub: func(h *hub) { h.memory, h.refuse = 10, errSmall }, send: logsOf(1, "web"), code: codes.ResourceExhausted, retry: true},
		"refused":     {token: "secret", hub: func(h *hub) { h.refuse = errors.New("no") }, send: logsOf(1, "web"), code: codes.Internal},
		"too large":   {token: "secret", send: logsOf(1, strings.Repeat("x", 5<<20)), code: codes.ResourceExhausted},
		"in part":     {token: "secret", send: mixed, rejected: 2, records: 1},
		"too many":    {token: "secret", hub: func(h *hub) { h.limits.MaxRecords = 2 }, send: logsOf(1, "a", "b", "c"), rejected: 1, records: 2},
		"empty":       {token: "secret", send: &logscol.ExportLogsServiceRequest{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			if tc.hub != nil {
				tc.hub(h)
			}
			conn := client(t, start(t, h, func(c *Config) { c.MaxMessage = 4 << 20 }))
			resp, err := logscol.NewLogsServiceClient(conn).Export(withToken(t, tc.token), tc.send.(*logscol.ExportLogsServiceRequest))
			st := status.Convert(err)
			if st.Code() != tc.code {
				t.Fatalf("%v %v", resp, err)
			}
			retry := false
			for _, d := range st.Details() {
				info, ok := d.(*errdetails.RetryInfo)
				retry = retry || ok && info.GetRetryDelay().AsDuration() > 0
			}
			if retry != tc.retry || resp.GetPartialSuccess().GetRejectedLogRecords() != tc.rejected {
				t.Errorf("retry %v, %v, %v", retry, resp, err)
			}
			if tc.rejected > 0 && resp.GetPartialSuccess().GetErrorMessage() == "" {
				t.Error("no reason")
			}
			if _, records := h.take(); len(records) != tc.records {
				t.Errorf("%d records", len(records))
			}
		})
	}
}

func TestMalformed(t *testing.T) {
	h := newHub(t)
	conn := client(t, start(t, h), grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawClient{})))
	var answer []byte
	err := conn.Invoke(withToken(t, "secret"), "/opentelemetry.proto.collector.logs.v1.LogsService/Export", []byte{0x0a, 0x7f, 1}, &answer)
	if status.Code(err) != codes.InvalidArgument {
		t.Errorf("%v", err)
	}
}

// A request that is sent again counts once, even if it was stored in parts; one
// whose records have no time is stored as often as it is answered well.
func TestRepeated(t *testing.T) {
	for name, tc := range map[string]struct {
		at   uint64
		want int
	}{"with times": {1, 1}, "without": {0, 2}} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			logs := logscol.NewLogsServiceClient(client(t, start(t, h)))
			for range 2 {
				if _, err := logs.Export(withToken(t, "secret"), logsOf(tc.at, "web")); err != nil {
					t.Fatal(err)
				}
			}
			if _, records := h.take(); len(records) != tc.want {
				t.Errorf("%d records, want %d", len(records), tc.want)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	h := newHub(t)
	r := start(t, h, func(c *Config) {
		c.Source = "opentelemetry.genai"
		c.Routes = []Route{{"service.name", "vllm*", "vllm.server"}, {"gpu", "3", "auto"}}
	})
	m := logsOf(1, "vllm-0", "web", "vllm-1")
	m.ResourceLogs[1].Resource.Attributes[1] = num("gpu", 4)
	if _, err := logscol.NewLogsServiceClient(client(t, r)).Export(withToken(t, "secret"), m); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	batches, _ := h.take()
	for _, b := range batches {
		got[b.Source] += len(b.Frames.Records)
	}
	if len(got) != 2 || got["vllm.server"] != 2 || got["opentelemetry.genai"] != 1 {
		t.Errorf("%v", got)
	}
}

// A request whose JSON is much longer than its protobuf is submitted in parts,
// and what is beyond all bounds is rejected with a reason.
func TestAmplification(t *testing.T) {
	h := newHub(t)
	m := logsOf(1, "web")
	m.ResourceLogs[0].Resource.Attributes = append(m.ResourceLogs[0].Resource.Attributes, str("long", strings.Repeat("x", 100<<10)))
	scope := m.ResourceLogs[0].ScopeLogs[0]
	for range 1500 {
		scope.LogRecords = append(scope.LogRecords, scope.LogRecords[0])
	}
	resp, err := logscol.NewLogsServiceClient(client(t, start(t, h))).Export(withToken(t, "secret"), m)
	if err != nil {
		t.Fatal(err)
	}
	batches, records := h.take()
	rejected := int(resp.GetPartialSuccess().GetRejectedLogRecords())
	if rejected == 0 || len(records)+rejected != 1501 || len(batches) < 10 {
		t.Errorf("%d records in %d batches, %d rejected", len(records), len(batches), rejected)
	}
	keys := map[string]bool{}
	for _, b := range batches {
		keys[b.Key] = true
		if len(b.Body) > flushAt+1<<20 {
			t.Errorf("a batch of %d bytes", len(b.Body))
		}
	}
	if len(keys) != len(batches) {
		t.Errorf("%d keys for %d batches", len(keys), len(batches))
	}
	for _, r := range records[:3] {
		if !json.Valid([]byte(r)) {
			t.Error("a record that is no JSON")
		}
	}
}

func TestStopsWithConnections(t *testing.T) {
	h := newHub(t)
	r := start(t, h, func(c *Config) { c.MaxConnections = 1 })
	if _, err := logscol.NewLogsServiceClient(client(t, r)).Export(withToken(t, "secret"), logsOf(1, "web")); err != nil {
		t.Fatal(err)
	}
	// A second connection waits for a place; the receiver stops all the same.
	ctx, cancel := context.WithTimeout(withToken(t, "secret"), 50*time.Millisecond)
	defer cancel()
	if _, err := logscol.NewLogsServiceClient(client(t, r)).Export(ctx, logsOf(1, "web")); err == nil {
		t.Error("a connection too many was served")
	}
}
