package otlp

import (
	"errors"
	"mime"
	"net"
	"net/http"
	"strconv"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
)

const (
	protobufType = "application/x-protobuf"
	jsonType     = "application/json"
)

// Patterns are those of http.ServeMux that Handler is for.
func (r *Receiver) Patterns() []string {
	var out []string
	for _, sig := range r.signals {
		out = append(out, "POST "+sig.path)
	}
	return out
}

// Handler serves OTLP over HTTP.
func (r *Receiver) Handler() http.Handler { return http.HandlerFunc(r.serve) }

func (r *Receiver) serve(w http.ResponseWriter, req *http.Request) {
	var sig *signal
	for _, s := range r.signals {
		if s.path == req.URL.Path {
			sig = s
		}
	}
	if sig == nil {
		http.NotFound(w, req)
		return
	}
	kind, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	asJSON := kind == jsonType
	refuse := func(code int, err error) { writeStatus(w, asJSON, code, err) }
	id, ok := auth.Request(req, r.hub.Identify)
	if !ok {
		w.Header().Set("WWW-Authenticate", `Bearer realm="vagus"`)
		refuse(http.StatusUnauthorized, unauthenticated())
		return
	}
	if !asJSON && kind != protobufType {
		refuse(http.StatusUnsupportedMediaType, &fault{codes.InvalidArgument, "Content-Type must be " + protobufType + " or " + jsonType, 0})
		return
	}
	body, err := r.reader.Read(w, req)
	if err != nil {
		code := httpin.Status(err)
		f := &fault{codes.InvalidArgument, err.Error(), 0}
		switch code {
		case http.StatusServiceUnavailable:
			f = busy(err)
		case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
			// The rest of the body is not worth reading.
			w.Header().Set("Connection", "close")
		}
		refuse(code, f)
		return
	}
	defer body.Close()
	remote, _, _ := net.SplitHostPort(req.RemoteAddr)
	rejected, why, err := r.take(req.Context(), request{
		sig: sig, id: id, remote: remote, key: goodKey(req.Header.Get("Idempotency-Key")), body: body.Bytes, json: asJSON,
	})
	if err != nil {
		refuse(httpCode(err), err)
		return
	}
	if asJSON {
		w.Header().Set("Content-Type", jsonType)
		_, _ = w.Write(appendJSONResponse(nil, sig, rejected, why)) // the client went away
		return
	}
	w.Header().Set("Content-Type", protobufType)
	_, _ = w.Write(appendResponse(nil, rejected, why)) // the client went away
}

// goodKey drops an Idempotency-Key that does not fit into message ids.
func goodKey(key string) string {
	if len(key) > 100 || strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return ""
	}
	return key
}

// httpCode is the HTTP status of an error: those that are repeated by senders
// only where repeating helps.
func httpCode(err error) int {
	var f *fault
	if !errors.As(err, &f) {
		return http.StatusInternalServerError
	}
	switch f.code {
	case codes.InvalidArgument:
		return http.StatusBadRequest
	case codes.PermissionDenied:
		return http.StatusForbidden
	case codes.ResourceExhausted:
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// writeStatus answers with a google.rpc.Status, as OTLP wants it.
func writeStatus(w http.ResponseWriter, asJSON bool, code int, err error) {
	var f *fault
	if errors.As(err, &f) && f.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(f.retry.Seconds())))
	}
	st := toStatus(err).Proto()
	kind, marshal := protobufType, proto.Marshal
	if asJSON {
		kind, marshal = jsonType, protojson.Marshal
	}
	data, err := marshal(st)
	if err != nil {
		data = nil
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(code)
	_, _ = w.Write(data) // the client went away
}

// appendResponse writes an Export…ServiceResponse.
func appendResponse(dst []byte, rejected int64, why string) []byte {
	if rejected == 0 {
		return dst
	}
	partial := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(rejected))
	partial = protowire.AppendString(protowire.AppendTag(partial, 2, protowire.BytesType), why)
	return protowire.AppendBytes(protowire.AppendTag(dst, 1, protowire.BytesType), partial)
}

func appendJSONResponse(dst []byte, sig *signal, rejected int64, why string) []byte {
	if rejected == 0 {
		return append(dst, "{}"...)
	}
	dst = append(append(append(dst, `{"partialSuccess":{"`...), sig.rejected...), `":`...)
	dst = append(appendQuotedInt(dst, rejected), `,"errorMessage":`...)
	return append(appendString(dst, []byte(why)), "}}"...)
}
