package otlp

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	_ "google.golang.org/grpc/encoding/gzip" // grpc knows compressors by import
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/vagus-hub/vagus/services/ingest/internal/auth"
)

// rawCodec hands messages over as bytes: they are decoded once, by the walk.
type rawCodec struct{}

// Marshal takes the []byte of an answer.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.([]byte)
	if !ok {
		return nil, errors.New("otlp: no bytes")
	}
	return mem.BufferSlice{mem.SliceBuffer(b)}, nil
}

// Unmarshal gives a mem.Buffer, which the receiver frees.
func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*mem.Buffer)
	if !ok {
		return errors.New("otlp: no buffer")
	}
	*b = data.MaterializeToBuffer(mem.DefaultBufferPool())
	return nil
}

// Name is the content subtype that senders use.
func (rawCodec) Name() string { return "proto" }

// zstdDecompressor unpacks zstd, which grpc does not know by itself, without
// touching the process's list of compressors.
type zstdDecompressor struct{ limit int }

// Type is the name in grpc-encoding.
func (zstdDecompressor) Type() string { return "zstd" }

// Do unpacks a message; one byte beyond the limit makes grpc refuse it.
func (d zstdDecompressor) Do(r io.Reader) ([]byte, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(32<<20))
	if err != nil {
		return nil, err
	}
	defer z.Close()
	return io.ReadAll(io.LimitReader(z, int64(d.limit)+1))
}

func (r *Receiver) bindGRPC() error {
	opts := []grpc.ServerOption{
		grpc.ForceServerCodecV2(rawCodec{}),
		grpc.MaxRecvMsgSize(r.cfg.MaxMessage),
		grpc.MaxConcurrentStreams(16),
		grpc.MaxHeaderListSize(32 << 10),
		//lint:ignore SA1019 the other way registers for the whole process
		grpc.RPCDecompressor(zstdDecompressor{r.cfg.MaxMessage}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{PermitWithoutStream: true}),
	}
	if r.certs != nil {
		c := r.certs.Config()
		c.NextProtos = []string{"h2"}
		opts = append(opts, grpc.Creds(credentials.NewTLS(c)))
	}
	r.grpc = grpc.NewServer(opts...)
	for _, sig := range r.signals {
		// On the wire a call with one message each way is the same as a stream
		// of them. As a stream the sender is known before its message is read.
		r.grpc.RegisterService(&grpc.ServiceDesc{ServiceName: sig.service, HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{{
			StreamName: "Export", ServerStreams: true, ClientStreams: true,
			Handler: func(_ any, stream grpc.ServerStream) error { return r.export(sig, stream) },
		}}}, r)
	}
	var err error
	r.grpcListen, err = r.listen("grpc", r.cfg.GRPC)
	return err
}

func (r *Receiver) export(sig *signal, stream grpc.ServerStream) error {
	ctx := stream.Context()
	md, _ := metadata.FromIncomingContext(ctx)
	remote := ""
	var conn *tls.ConnectionState
	if p, ok := peer.FromContext(ctx); ok {
		remote, _, _ = net.SplitHostPort(p.Addr.String())
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			conn = &info.State
		}
	}
	id, ok := r.identify(md, conn)
	if !ok {
		return grpcError(unauthenticated())
	}
	var buf mem.Buffer
	if err := stream.RecvMsg(&buf); err != nil {
		return err
	}
	defer buf.Free()
	rejected, why, err := r.take(ctx, request{sig: sig, id: id, remote: remote, key: goodKey(first(md, "idempotency-key")), body: buf.ReadOnlyData()})
	if err != nil {
		return grpcError(err)
	}
	return stream.SendMsg(appendResponse(nil, rejected, why))
}

// identify finds the sender as auth.Request does.
func (r *Receiver) identify(md metadata.MD, conn *tls.ConnectionState) (auth.Identity, bool) {
	secret := first(md, "x-vagus-token")
	if v := first(md, "authorization"); v != "" {
		secret = auth.Parse(v)
	}
	if secret != "" {
		return r.hub.Identify(secret)
	}
	return r.client(conn)
}

func unauthenticated() *fault {
	return &fault{codes.Unauthenticated, "missing or wrong token (send Authorization: Bearer TOKEN)", 0}
}

func first(md metadata.MD, key string) string {
	if v := md.Get(key); len(v) > 0 {
		return v[0]
	}
	return ""
}

// toStatus is what is sent of an error, over gRPC and HTTP alike.
func toStatus(err error) *status.Status {
	var f *fault
	if !errors.As(err, &f) {
		return status.New(codes.Internal, err.Error())
	}
	st := status.New(f.code, f.message)
	if f.retry > 0 {
		if with, err := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(f.retry)}); err == nil {
			return with
		}
	}
	return st
}

func grpcError(err error) error { return toStatus(err).Err() }

// limit bounds the connections that are open at a time; more wait.
func limit(l net.Listener, n int) net.Listener {
	return &limited{Listener: l, free: make(chan struct{}, n), done: make(chan struct{})}
}

type limited struct {
	net.Listener
	free chan struct{}
	done chan struct{}
	once sync.Once
}

// Accept waits for a place, then for a connection.
func (l *limited) Accept() (net.Conn, error) {
	select {
	case l.free <- struct{}{}:
	case <-l.done:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.free
		return nil, err
	}
	return &counted{Conn: c, leave: sync.OnceFunc(func() { <-l.free })}, nil
}

// Close also ends an Accept that waits for a place.
func (l *limited) Close() error {
	l.once.Do(func() { close(l.done) })
	return l.Listener.Close()
}

type counted struct {
	net.Conn
	leave func()
}

// Close gives the place back.
func (c *counted) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
