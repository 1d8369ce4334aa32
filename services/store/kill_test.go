package store

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/clickhouse"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/embeddedtest"
	"github.com/vagus-hub/vagus/services/internal/testkit"
)

// childStore makes the test binary a store process, to be killed.
const childStore = "VAGUS_TEST_STORE"

func runChildStore() int {
	ctx := context.Background()
	b, err := bus.Connect(ctx, bus.Options{URL: os.Getenv("VAGUS_TEST_NATS"), Token: os.Getenv("VAGUS_TEST_TOKEN"), Name: "store"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	c, err := clickhouse.Open(ctx, os.Getenv("VAGUS_TEST_DSN"))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	o := DefaultOptions()
	o.Bus, o.ClickHouse, o.MaxRows = b, c, 2000
	o.Linger, o.MaxWait = 10*time.Millisecond, 20*time.Millisecond
	s, err := New(o)
	if err == nil {
		err = s.Run(ctx)
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// TestStoreKilled kills the store's process at moments that differ each time.
func TestStoreKilled(t *testing.T) {
	e := embeddedtest.Engine(t)
	server := testkit.Server(t)
	b := testkit.Connect(t, server)
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	c, dsn := openDSN(t, e)
	spawn := func() *exec.Cmd {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childStore+"=1", "VAGUS_TEST_NATS="+server.URL(), "VAGUS_TEST_TOKEN="+server.Token(), "VAGUS_TEST_DSN="+dsn)
		var out strings.Builder
		cmd.Stderr = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(out.String())
			}
		})
		return cmd
	}
	const blocks = 300
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for i := range blocks {
			a, err := b.Publish(context.Background(), bus.Msg{Subject: subjects.Raw("litellm.proxy"), ID: fmt.Sprint("r", i), Data: rawBlock(fmt.Sprint("b", i), 50)})
			if err == nil {
				_, err = b.Publish(context.Background(), bus.Msg{Subject: subjects.Events("ai"), ID: fmt.Sprint("e", i), Data: aiBlock(a.Seq, 50)})
			}
			if err != nil {
				t.Error(err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	for i := range 8 {
		cmd := spawn()
		time.Sleep(time.Duration(250+61*i) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	cmd := spawn()
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	<-sent
	complete(t, c, blocks*50)
}

// TestTokenWithoutRows: ClickHouse died after it wrote the token down and
// before the rows were in place. The redone plan must add them.
func TestTokenWithoutRows(t *testing.T) {
	c := open(t, embeddedtest.Engine(t))
	b := testkit.Bus(t)
	o := options(b, c)
	for i := range 4 {
		publish(t, b, subjects.Events("ai"), fmt.Sprint("e", i), aiBlock(uint64(i+1), 100))
	}
	o.hook = func(p string) error {
		if p == subjects.StreamEvents+":after_insert" {
			return fmt.Errorf("crash")
		}
		return nil
	}
	o.Linger, o.MaxWait = 200*time.Millisecond, 200*time.Millisecond
	stop := running(t, o)
	eventually(t, c, "(SELECT count() FROM events_ai)", 400)
	_ = stop()
	// A mutation takes the rows away and leaves the token.
	if err := c.Exec(t.Context(), "ALTER TABLE events_ai DELETE WHERE message_context_prompt_text != '' SETTINGS mutations_sync = 2"); err != nil {
		t.Fatal(err)
	}
	if n := number(t, c, "(SELECT count() FROM events_ai)"); n != 200 {
		t.Fatalf("%d rows left", n)
	}
	o.hook = nil
	stop = running(t, o)
	eventually(t, c, "(SELECT count() FROM events_ai)", 400)
	if n := number(t, c, "(SELECT uniqExact(event_uid) FROM events_ai)"); n != 400 {
		t.Errorf("%d uids", n)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// TestBusRestarts stops the bus under the store and starts it again.
func TestBusRestarts(t *testing.T) {
	c := open(t, embeddedtest.Engine(t))
	so := bus.ServerOptions{StoreDir: t.TempDir(), Addr: testkit.FreeAddr(t), Token: "test", MaxStore: 4 << 30}
	server, err := bus.StartServer(so)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { server.Shutdown() }()
	b, err := bus.Connect(t.Context(), bus.Options{URL: server.URL(), Token: "test", Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if err := b.EnsureStreams(t.Context(), bus.Limits{}); err != nil {
		t.Fatal(err)
	}
	o := options(b, c)
	o.MaxRows = 500
	stop := running(t, o)
	send := func(subject, id string, data []byte) (seq uint64) {
		testkit.Eventually(t, "published", func() bool {
			a, err := b.Publish(t.Context(), bus.Msg{Subject: subject, ID: id, Data: data})
			seq = a.Seq
			return err == nil
		})
		return seq
	}
	for i := range 120 {
		if i%40 == 20 {
			server.Shutdown()
			if server, err = bus.StartServer(so); err != nil {
				t.Fatal(err)
			}
		}
		seq := send(subjects.Raw("litellm.proxy"), fmt.Sprint("r", i), rawBlock(fmt.Sprint("b", i), 50))
		send(subjects.Events("ai"), fmt.Sprint("e", i), aiBlock(seq, 50))
	}
	complete(t, c, 120*50)
	if err := stop(); err != nil {
		t.Error(err)
	}
}
