package detect

import (
	"bytes"
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// silences runs the command and returns what it printed.
func silences(t *testing.T, srv *bus.Server, args ...string) (string, error) {
	t.Helper()
	cmd := SilencesCommand(CommandOptions{
		Content: fstest.MapFS{"test/burst.yml": {Data: []byte(burst)}},
		Bus:     func(context.Context) (*bus.Bus, error) { return testkit.Connect(t, srv), nil },
	})
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetArgs(args)
	cmd.SilenceUsage = true
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// hubBus is a bus that commands can connect to.
func hubBus(t *testing.T) (*bus.Server, *bus.Bus) {
	t.Helper()
	srv := testkit.Server(t)
	b := testkit.Connect(t, srv)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	return srv, b
}

// refusedNow is a block of n refused requests that happen now.
func refusedNow(ip string, n int) []byte {
	b := block.NewBuilder(event.FamilyNetwork)
	for i := range n {
		ms := time.Now().UnixMilli() + int64(i)
		b.SetUUID(event.EventUID, block.UID(ip, uint32(i)))
		b.SetInt(event.Time, ms)
		b.SetInt(event.ReceivedAt, ms)
		b.SetString(event.Source, "nginx.access")
		b.SetInt(event.ClassUID, int64(event.ClassHTTPActivity))
		b.SetInt(event.HTTPResponseCode, 401)
		b.SetIP(event.SrcEndpointIP, netip.MustParseAddr(ip))
		b.EndRow()
	}
	return b.AppendTo(nil, block.Header{Kind: block.KindEvents, Source: "nginx.access"})
}

// A silenced alert is stored with what mutes it, and told when the silence is
// expired by hand; another instance's alerts are muted alike.
func TestSilences(t *testing.T) {
	srv, b := hubBus(t)
	dir := rulesDir(t, map[string]string{"test/burst.yml": burst})
	s, stop := start(t, b, dir)
	out, err := silences(t, srv, "add", "test.burst", "src_endpoint.ip=192.0.2.1", "--for", "1h", "-c", "a test", "--by", "ann", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID == "" {
		t.Fatal(out, err)
	}
	testkit.Eventually(t, "the instance hears of it", func() bool { return s.mute.Stats().Silences == 1 })
	publish(t, b, "1", refusedNow("192.0.2.1", 5))
	publish(t, b, "2", refusedNow("192.0.2.9", 5))
	testkit.Eventually(t, "both alerts", func() bool { return len(alerts(t, b)) == 2 })
	told := func(ip string) (raised, told bool) {
		for _, a := range alerts(t, b) {
			if a.Entity.Value == ip {
				raised, told = true, told || a.Told()
			}
		}
		return
	}
	if raised, ok := told("192.0.2.1"); !raised || ok {
		t.Errorf("raised %v, told %v", raised, ok)
	}
	if _, ok := told("192.0.2.9"); !ok {
		t.Error("the other alert is muted, too")
	}
	if out, err := silences(t, srv, "show", made.ID[:6]); err != nil || !strings.Contains(out, "match: 1") {
		t.Error(out, err)
	}
	stop()
	if out, err := silences(t, srv, "expire", made.ID, "--by", "bob"); err != nil {
		t.Error(out, err)
	}
	// After a restart it is known what was muted.
	_, stop = start(t, b, dir)
	testkit.Eventually(t, "it is told", func() bool { _, ok := told("192.0.2.1"); return ok })
	stop()
	last := alerts(t, b)[len(alerts(t, b))-1]
	if last.Status != finding.Amended || !last.Unmuted() || last.Muted.ID != made.ID || last.Revision != 1 {
		t.Errorf("%+v", last)
	}
	if out, err := silences(t, srv, "list"); err != nil || strings.Contains(out, made.ID) {
		t.Error(out, err)
	}
	if out, err := silences(t, srv, "list", "--expired"); err != nil || !strings.Contains(out, made.ID) || !strings.Contains(out, "expired") {
		t.Error(out, err)
	}
}

func TestSilencesCommandRefuses(t *testing.T) {
	srv, _ := hubBus(t)
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"no comment":    {[]string{"add", "rule=x"}, "no comment"},
		"everything":    {[]string{"add", "rule=~.*", "-c", "x"}, "mute every alert"},
		"unknown label": {[]string{"add", "ruel=x", "-c", "x"}, "did you mean rule?"},
		"duration":      {[]string{"add", "rule=x", "-c", "x", "--for", "long"}, "not a duration"},
		"past":          {[]string{"add", "rule=x", "-c", "x", "--until", "2020-01-01T00:00:00Z"}, "before it starts"},
		"unknown id":    {[]string{"expire", "abc"}, `0 begin with "abc"`},
	} {
		t.Run(name, func(t *testing.T) {
			if out, err := silences(t, srv, tc.args...); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, %s; want …%s…", err, out, tc.want)
			}
		})
	}
	if out, err := silences(t, srv, "add", "test.burst", "-c", "x", "--dry-run"); err != nil || !strings.Contains(out, "not added") {
		t.Error(out, err)
	}
	// A silence may be there before its rule is; a slip is told.
	if out, err := silences(t, srv, "add", "rule=test.brust", "-c", "x", "--dry-run"); err != nil || !strings.Contains(out, "warning: the hub runs no rule test.brust: did you mean test.burst?") {
		t.Error(out, err)
	}
	for _, m := range []string{"rule=test.burst", "rule=source-silent", "rule!=other"} {
		if out, err := silences(t, srv, "add", m, "src_endpoint.ip=192.0.2.1", "-c", "x", "--dry-run"); err != nil || strings.Contains(out, "warning") {
			t.Error(out, err)
		}
	}
	if out, _ := silences(t, srv, "list", "--expired"); strings.Contains(out, "test.burst") {
		t.Errorf("a dry run added something: %s", out)
	}
}
