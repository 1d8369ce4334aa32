package otlp

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	rpcstatus "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	tracecol "go.opentelemetry.io/proto/otlp/collector/trace/v1"
)

const oneSpan = `{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"4bf92f3577b34da6a3ce929d0e0e4736","spanId":"00f067aa0ba902b7","name":"a \"}]\" b","startTimeUnixNano":"1"}]}]}]}`

func post(t *testing.T, url, token, kind string, body []byte, header ...string) (*http.Response, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", kind)
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, data
}

func TestHTTPRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		token, kind, body string
		header            []string
		hub               func(*hub)
		status            int
		code              codes.Code
		retry             string
	}{
		"no token":     {"", jsonType, oneSpan, nil, nil, 401, codes.Unauthenticated, ""},
		"wrong token":  {"other", protobufType, "", nil, nil, 401, codes.Unauthenticated, ""},
		"forbidden":    {"vllm-secret", jsonType, oneSpan, nil, nil, 403, codes.PermissionDenied, ""},
		"type":         {"secret", "text/plain", oneSpan, nil, nil, 415, codes.InvalidArgument, ""},
		"encoding":     {"secret", jsonType, oneSpan, []string{"Content-Encoding", "br"}, nil, 415, codes.InvalidArgument, ""},
		"too large":    {"secret", jsonType, oneSpan + strings.Repeat(" ", 1<<20), nil, nil, 413, codes.InvalidArgument, ""},
		"no JSON":      {"secret", jsonType, oneSpan[:80], nil, nil, 400, codes.InvalidArgument, ""},
		"no protobuf":  {"secret", protobufType, "\x0a\x7f\x01", nil, nil, 400, codes.InvalidArgument, ""},
		"busy":         {"secret", jsonType, oneSpan, nil, func(h *hub) { h.busy = 1 }, 503, codes.ResourceExhausted, "2"},
		"broken inner": {"secret", jsonType, `{"resourceSpans":[{"scopeSpans":{}}]}`, nil, nil, 400, codes.InvalidArgument, ""},
		"refused":      {"secret", jsonType, oneSpan, nil, func(h *hub) { h.refuse = errors.New("no") }, 500, codes.Internal, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			if tc.hub != nil {
				tc.hub(h)
			}
			r := start(t, h, func(c *Config) { c.MaxMessage = 1 << 20 })
			resp, data := post(t, "http://"+r.HTTPAddr()+"/v1/traces", tc.token, tc.kind, []byte(tc.body), tc.header...)
			st := &rpcstatus.Status{}
			unmarshal, kind := proto.Unmarshal, protobufType
			if tc.kind == jsonType {
				unmarshal, kind = protojson.Unmarshal, jsonType
			}
			if err := unmarshal(data, st); err != nil {
				t.Fatalf("%d %q: %v", resp.StatusCode, data, err)
			}
			if resp.StatusCode != tc.status || codes.Code(st.GetCode()) != tc.code || st.GetMessage() == "" || resp.Header.Get("Retry-After") != tc.retry || resp.Header.Get("Content-Type") != kind {
				t.Errorf("%d %v %v", resp.StatusCode, resp.Header, st)
			}
			if (tc.retry != "") != (len(st.GetDetails()) == 1) {
				t.Errorf("details %v", st.GetDetails())
			}
		})
	}
}

func TestHTTPTakes(t *testing.T) {
	m := &tracecol.ExportTraceServiceRequest{}
	if err := protojson.Unmarshal([]byte(strings.NewReplacer("4bf92f3577b34da6a3ce929d0e0e4736", "S/kvNXezTaajzpKdDg5HNg==", "00f067aa0ba902b7", "APBnqgupArc=").Replace(oneSpan)), m); err != nil {
		t.Fatal(err)
	}
	binary, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write(binary)
	_ = w.Close()
	encoder, _ := zstd.NewWriter(nil)
	for name, tc := range map[string]struct {
		kind string
		body []byte
		how  []string
	}{
		"json":          {jsonType + "; charset=utf-8", []byte(oneSpan), nil},
		"protobuf":      {protobufType, binary, nil},
		"protobuf gzip": {protobufType, zipped.Bytes(), []string{"Content-Encoding", "gzip"}},
		"protobuf zstd": {protobufType, encoder.EncodeAll(binary, nil), []string{"Content-Encoding", "zstd"}},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHub(t)
			r := start(t, h)
			resp, data := post(t, "http://"+r.HTTPAddr()+"/v1/traces", "secret", tc.kind, tc.body, tc.how...)
			_, records := h.take()
			if resp.StatusCode != 200 || len(records) != 1 || strings.Contains(tc.kind, "json") != (string(data) == "{}") {
				t.Fatalf("%d %q %q", resp.StatusCode, data, records)
			}
			var got, want any
			decode(t, []byte(records[0]), &got)
			decode(t, []byte(oneSpan), &want)
			if g, w := must[[]byte](t)(json.Marshal(got)), must[[]byte](t)(json.Marshal(want)); !bytes.Equal(g, w) {
				t.Errorf("got  %s\nwant %s", g, w)
			}
		})
	}
}

func TestHTTPPartial(t *testing.T) {
	h := newHub(t)
	r := start(t, h)
	deep := strings.Repeat(`{"kvlistValue":{"values":[`, 30) + strings.Repeat(`]}}`, 30)
	body := strings.Replace(oneSpan, `"spans":[`, `"spans":[{"attributes":[{"key":"x","value":`+deep+`}]},`, 1)
	resp, data := post(t, "http://"+r.HTTPAddr()+"/v1/traces", "secret", jsonType, []byte(body))
	var answer struct {
		PartialSuccess struct{ RejectedSpans, ErrorMessage string }
	}
	decode(t, data, &answer)
	if resp.StatusCode != 200 || answer.PartialSuccess.RejectedSpans != "1" || answer.PartialSuccess.ErrorMessage == "" || len(h.bad) != 1 || len(h.records) != 1 {
		t.Errorf("%d %s, %d records, bad %v", resp.StatusCode, data, len(h.records), h.bad)
	}
}
