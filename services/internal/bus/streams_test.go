package bus

import (
	"fmt"
	"testing"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// A disk that was emptier when the streams were made: they get smaller, one
// that is missing is made, and what they hold stays.
func TestStreamsOfAnEmptierDisk(t *testing.T) {
	dir := t.TempDir()
	session := func(maxStore int64, use func(*Server, *Bus)) {
		t.Helper()
		s, err := StartServer(ServerOptions{StoreDir: dir, MaxStore: maxStore})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Shutdown()
		b, err := Connect(t.Context(), Options{Server: s})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close()
		if err := b.EnsureStreams(t.Context(), Limits{}); err != nil {
			t.Fatal(err)
		}
		use(s, b)
	}
	stored := func(b *Bus, stream string) (messages uint64, most int64) {
		t.Helper()
		st, err := b.js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		return st.CachedInfo().State.Msgs, st.CachedInfo().Config.MaxBytes
	}
	var before int64
	session(8<<30, func(_ *Server, b *Bus) {
		for i := range 100 {
			put(t, b, subjects.Events("ai"), fmt.Sprint(i), make([]byte, 64<<10))
		}
		_, before = stored(b, subjects.StreamEvents)
		if err := b.js.DeleteStream(t.Context(), subjects.StreamRaw); err != nil {
			t.Fatal(err)
		}
	})
	for range 2 { // and again, when the limits are low already
		session(256<<20, func(s *Server, b *Bus) {
			messages, after := stored(b, subjects.StreamEvents)
			if messages != 100 || after >= before/8 {
				t.Errorf("%d messages in %d bytes at most, want 100 in far less than %d", messages, after, before)
			}
			put(t, b, subjects.Raw("test"), "1", []byte("x"))
			if _, reserved, _ := s.ns.JetStreamReservedResources(); reserved > s.MaxStore() {
				t.Errorf("%d bytes reserved, the disk has %d", reserved, s.MaxStore())
			}
		})
	}
}

// A server of somebody else does not say what it has left: streams that exist
// make room for those that do not.
func TestStreamsMakeRoomForOthers(t *testing.T) {
	s, err := StartServer(ServerOptions{StoreDir: t.TempDir(), MaxStore: 1 << 30})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	b := connect(t, Options{URL: s.URL(), Token: s.Token()})
	most := StreamLimits{MaxBytes: 1 << 30}
	if err := b.EnsureStreams(t.Context(), Limits{Only: []string{subjects.StreamLedger}, Streams: map[string]StreamLimits{subjects.StreamLedger: most}}); err == nil {
		t.Fatal("a stream as big as everything leaves room for checkpoints")
	}
	if err := b.EnsureStreams(t.Context(), Limits{Total: 900 << 20}); err != nil {
		t.Fatal(err)
	}
	put(t, b, subjects.Events("ai"), "1", []byte("x"))
}
