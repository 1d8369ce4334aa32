package mapping

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/services/internal/block"
)

// TestShapeChangesNothing: records with other keys, in another order, written in
// another way or broken give the same events from a runner that has learned
// from the records before as from a new one.
func TestShapeChangesNothing(t *testing.T) {
	m, err := Compile("m.yaml", []byte(app))
	if err != nil {
		t.Fatal(err)
	}
	sink := &sampleSink{}
	r := NewRunner(m, sink)
	for i, record := range []string{
		`{"kind":"a","user":"ana","verb":"get","ip":"192.0.2.1"}`,
		`{"kind":"a","user":"bo","verb":"put","ip":"192.0.2.2"}`,
		`{"kind":"a","verb":"get","user":"ana"}`,
		`{"kind": "a", "user": "ana", "verb": "get"}`,
		"{ \"kind\" : \"a\" ,\n\t\"user\" : \"ana\" }",
		`{"kind":"a","user2":"x","user":"ana"}`,
		`{"kind":"a","us\u0065r":"ana","verb":"get"}`,
		`{"kind":"a","user""ana"}`,
		`{"kind":"a","user"`,
		`{"kind":"a","user":`,
		`{"kind":"a",,"user":"ana"}`,
		`{"kind":"a" "user":"ana"}`,
		`{"kind":"a","user":"ana",}`,
		`{,"kind":"a"}`,
		`{"user":"ana","kind":"a","obj":{"b":1,"a":[1,{"c":2}]},"body":"{\"key\":\"k\",\"x\":1}"}`,
		`{"user":"ana","kind":"a","obj":{"a":[1,{"c":2}],"b":1},"body":"{\"x\":1,\"key\":\"k\"}"}`,
		`{"user":"ana","kind":"a","body":"{\"x\":1,\"key\":\"k\""}`,
		`{"kind":"a","user":"ana","verb":"get","ip":"192.0.2.1"}`,
	} {
		sink.reset()
		res := r.Map(Record{UID: block.UID("m", 0), Received: fixedReceived, Data: []byte(record)})
		got := events(t, sink)
		fresh := &sampleSink{}
		want := NewRunner(m, fresh).Map(Record{UID: block.UID("m", 0), Received: fixedReceived, Data: []byte(record)})
		wanted := events(t, fresh)
		if fmt.Sprint(res) != fmt.Sprint(want) || got != wanted {
			t.Errorf("%d: %s:\ngot  %v %s\nwant %v %s", i, record, res, got, want, wanted)
		}
	}
}

// events writes what a sink got.
func events(t *testing.T, sink *sampleSink) string {
	t.Helper()
	var out bytes.Buffer
	if err := sink.write(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// TestShapeIsBounded: keys that nobody repeats are not all kept.
func TestShapeIsBounded(t *testing.T) {
	m, err := Compile("m.yaml", []byte(app))
	if err != nil {
		t.Fatal(err)
	}
	sink := &sampleSink{}
	r := NewRunner(m, sink)
	for i := range 2 * shapeKeys {
		r.Map(Record{Received: fixedReceived, Data: fmt.Appendf(nil, `{"kind":"a","k%d":1,"%s":2}`, i, strings.Repeat("x", 100))})
	}
	if n := len(r.shapes[m.root.id].keys); n != shapeKeys {
		t.Errorf("%d keys are kept, want %d", n, shapeKeys)
	}
}
