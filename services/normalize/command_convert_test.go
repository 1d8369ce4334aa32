package normalize

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

func TestConvertCommand(t *testing.T) {
	out := filepath.Join(t.TempDir(), "events.blocks")
	cmd := Command()
	var stderr bytes.Buffer
	cmd.SetErr(&stderr)
	cmd.SetIn(strings.NewReader(strings.Repeat(oldLine, 9000) + "not a record of it\n"))
	cmd.SetArgs([]string{"convert", "--source", "nginx.access", "-o", out, "-"})
	if err := cmd.Execute(); err != nil {
		t.Fatal(err)
	}
	if want := "9001 records, 9000 events in 2 blocks, 0 dropped, 1 cannot be mapped\n"; !strings.HasPrefix(stderr.String(), want) {
		t.Errorf("got %q, want %q", stderr.String(), want)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := bufio.NewReader(f)
	events := 0
	for {
		payload, err := block.ReadFramed(r, nil)
		if errors.Is(err, io.EOF) {
			break
		}
		var b block.Block
		if err != nil || block.Decode(payload, &b) != nil {
			t.Fatalf("block %d: %v", events, err)
		}
		events += b.Rows()
		if got := b.Column(event.TimeQuality); got != nil {
			t.Errorf("the time of an old event was changed: %q", got.Text(0))
		}
	}
	if events != 9000 {
		t.Errorf("the file has %d events", events)
	}
}
