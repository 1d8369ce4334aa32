package normalize

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"go.uber.org/goleak"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const appMapping = `source: test.app
drop: [{when: {kind: noise}, reason: noise}]
classes:
  - {when: {kind: model}, class: api_activity, family: ai, activity: Other}
  - {when: {kind: api}, class: api_activity, activity: Read}
fields:
  actor.user.name: user
`

// publish stores records as ingest does.
func publish(t *testing.T, b *bus.Bus, source, batch string, records ...string) uint64 {
	t.Helper()
	id := subjects.RawID(source, batch, 0)
	raw := block.NewRawBuilder()
	for i, r := range records {
		raw.Append(block.UID(id, uint32(i)), block.NowMS(), []byte(r))
	}
	ack, err := b.Publish(t.Context(), bus.Msg{Subject: subjects.Raw(source), ID: id, Data: raw.AppendTo(nil, block.Header{Source: source, Received: block.NowMS()})})
	if err != nil {
		t.Fatal(err)
	}
	return ack.Seq
}

// run starts the service and returns a stop function.
func run(t *testing.T, b *bus.Bus, opts Options) (stop func()) {
	t.Helper()
	opts.Bus = b
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// headers reads the headers of all messages of a stream.
func headers(t *testing.T, b *bus.Bus, stream string) []block.Header {
	t.Helper()
	var out []block.Header
	for rec, err := range b.ReadFrom(t.Context(), stream, nil, 1, 0) {
		if err != nil {
			t.Fatal(err)
		}
		h, _, err := block.Split(rec.Data)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, h)
	}
	return out
}

func testOptions() Options {
	o := DefaultOptions()
	o.Sources = fstest.MapFS{"test.app/mapping.yaml": {Data: []byte(appMapping)}}
	return o
}

func TestOneMessageBecomesABlockPerFamily(t *testing.T) {
	b := testkit.Bus(t)
	stop := run(t, b, testOptions())
	defer stop()
	publish(t, b, "test.app", "1", `{"kind":"api","user":"ana"}`, `{"kind":"model"}`, `{"kind":"noise"}`, `{broken`, `{"kind":"?"}`)
	testkit.Eventually(t, "two blocks and a dead letter", func() bool {
		return len(headers(t, b, subjects.StreamEvents)) == 2 && len(headers(t, b, subjects.StreamDead)) == 1
	})
	var in, out, dead, dropped uint32
	for _, h := range append(headers(t, b, subjects.StreamEvents), headers(t, b, subjects.StreamDead)...) {
		in += h.In + h.Extra
		dead += h.Dead
		if h.Kind == block.KindEvents {
			out += h.Rows
		}
		for _, r := range h.Dropped {
			dropped += r.Count
		}
	}
	if in != 5 || out != 2 || dead != 2 || dropped != 1 {
		t.Errorf("in %d = out %d + dead %d + dropped %d does not hold", in, out, dead, dropped)
	}
}

func TestDroppedOnlyStillReachesTheLedger(t *testing.T) {
	b := testkit.Bus(t)
	stop := run(t, b, testOptions())
	defer stop()
	publish(t, b, "test.app", "1", `{"kind":"noise"}`)
	testkit.Eventually(t, "a block without rows", func() bool {
		hs := headers(t, b, subjects.StreamEvents)
		return len(hs) == 1 && hs[0].Rows == 0 && hs[0].In == 1 && len(hs[0].Dropped) == 1
	})
}

func TestUnknownSourceAndBrokenMappingAreDeadLetters(t *testing.T) {
	b := testkit.Bus(t)
	o := testOptions()
	o.Sources = fstest.MapFS{
		"test.app/mapping.yaml": {Data: []byte(appMapping)},
		"test.bad/mapping.yaml": {Data: []byte("source: test.bad\nclasses: [{class: nope}]\n")},
	}
	stop := run(t, b, o)
	defer stop()
	publish(t, b, "test.bad", "1", `{"a":1}`)
	publish(t, b, "test.unknown", "1", `{"a":1}`)
	publish(t, b, "test.app", "1", `{"kind":"api"}`)
	testkit.Eventually(t, "two dead letters and the good event", func() bool {
		return len(headers(t, b, subjects.StreamDead)) == 2 && len(headers(t, b, subjects.StreamEvents)) == 1
	})
}

// TestRestartPublishesNothingTwice stops the service again and again while it
// works; what it has published keeps its id, so the streams hold it once.
func TestRestartPublishesNothingTwice(t *testing.T) {
	b := testkit.Bus(t)
	const messages = 60
	for i := range messages {
		publish(t, b, "test.app", fmt.Sprint(i), `{"kind":"api"}`, `{"kind":"model"}`)
	}
	for range 5 {
		run(t, b, testOptions())()
	}
	stop := run(t, b, testOptions())
	defer stop()
	testkit.Eventually(t, "all blocks", func() bool { return len(headers(t, b, subjects.StreamEvents)) >= 2*messages })
	seen := map[string]bool{}
	for _, h := range headers(t, b, subjects.StreamEvents) {
		key := fmt.Sprint(h.RawSeq, event.Family(h.Family))
		if seen[key] {
			t.Errorf("block %s was published twice", key)
		}
		seen[key] = true
	}
	if len(seen) != 2*messages {
		t.Errorf("%d blocks of %d", len(seen), 2*messages)
	}
}

func TestCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, "test.app", name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	run := func(args ...string) (string, error) {
		var out strings.Builder
		c := Command()
		c.SetOut(&out)
		c.SetErr(&out)
		c.SilenceUsage = true
		c.SetArgs(args)
		err := c.Execute()
		return out.String(), err
	}
	write("mapping.yaml", appMapping)
	write("testdata/a.ndjson", `{"kind":"api","user":"ana"}`+"\n")
	if _, err := run("--dir", dir, "test"); err == nil || !strings.Contains(err.Error(), "no golden") {
		t.Errorf("test without goldens: %v", err)
	}
	if _, err := run("--dir", dir, "test", "--update"); err != nil {
		t.Fatal(err)
	}
	if out, err := run("--dir", dir, "test"); err != nil || !strings.Contains(out, "1 events") {
		t.Errorf("test: %v\n%s", err, out)
	}
	write("testdata/a.ndjson", `{"kind":"api","user":"eve"}`+"\n")
	if _, err := run("--dir", dir, "test"); err == nil || !strings.Contains(err.Error(), "differs") {
		t.Errorf("test with another sample: %v", err)
	}
	write("mapping.yaml", strings.Replace(appMapping, "actor.user.name", "actor.user.nam", 1))
	if _, err := run("--dir", dir, "check"); err == nil || !strings.Contains(err.Error(), "mapping.yaml:7:3: unknown column") {
		t.Errorf("check: %v", err)
	}
	if out, err := run("list", "--json"); err != nil || !strings.Contains(out, `"source": "litellm.proxy"`) {
		t.Errorf("list: %v\n%s", err, out)
	}
	if out, err := run("test"); err != nil {
		t.Errorf("the built-in goldens: %v\n%s", err, out)
	}
}
