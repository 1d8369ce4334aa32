package enrich

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// database is one with a single network, 192.0.2.0/24.
func database() []byte {
	text := func(s string) string { return string(rune(2<<5|len(s))) + s }
	// Control bytes above 0x7f are single bytes, not runes.
	control := func(kind, n int) string { return string([]byte{byte(kind<<5 | n)}) }
	number := func(kind int, v ...byte) string { return control(kind, len(v)) + string(v) }
	var tree []byte
	const bits = 24
	put := func(v int) { tree = append(tree, byte(v>>16), byte(v>>8), byte(v)) }
	for i := range bits {
		next := i + 1
		if next == bits {
			next = bits + 16
		}
		if []byte{192, 0, 2}[i/8]>>(7-i%8)&1 == 0 {
			put(next)
			put(bits)
		} else {
			put(bits)
			put(next)
		}
	}
	record := control(7, 2) + text("country") + control(7, 1) + text("iso_code") + text("DE") + text("autonomous_system_number") + number(6, 0xfb, 0xf0)
	meta := control(7, 8) + text("binary_format_major_version") + number(5, 2) + text("binary_format_minor_version") + number(5) +
		text("build_epoch") + number(6, 0x69, 0, 0, 0) + text("database_type") + text("Test") + text("description") + control(7, 0) +
		text("ip_version") + number(5, 4) + text("node_count") + number(6, bits) + text("record_size") + number(5, 24)
	return []byte(string(tree) + strings.Repeat("\x00", 16) + record + "\xab\xcd\xefMaxMind.com" + meta)
}

func TestGeo(t *testing.T) {
	file := filepath.Join(t.TempDir(), "test.mmdb")
	if err := os.WriteFile(file, database(), 0o600); err != nil {
		t.Fatal(err)
	}
	e := running(t, Config{Geo: []string{file}}, nil)
	eventually(t, "the database", func() bool { return len(e.current.Load().geo) == 1 })
	b := block.NewBuilder(event.FamilyNetwork)
	for _, a := range []string{"192.0.2.77", "203.0.113.1", "2001:db8::1"} {
		b.SetIP(event.SrcEndpointIP, netip.MustParseAddr(a))
		b.EndRow()
	}
	got := rows(t, e, b)
	if !strings.Contains(got[0], `"src_endpoint.country":"DE","src_endpoint.asn":64496`) || !strings.Contains(got[0], `"geo@20`) {
		t.Error(got[0])
	}
	if strings.Contains(got[1]+got[2], "geo@") {
		t.Error(got[1:])
	}
	if err := os.WriteFile(file, []byte("junk"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openGeo(file, time.Time{}); err == nil {
		t.Error("junk is a database")
	}
}
