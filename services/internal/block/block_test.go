package block

import (
	"bytes"
	"fmt"
	"net/netip"
	"testing"

	"github.com/ClickHouse/ch-go/proto"
	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
)

// fill puts rows of varied events into b; every third row leaves most unset.
func fill(b *Builder, rows int) {
	for i := range rows {
		b.SetUUID(event.EventUID, UID("msg", uint32(i)))
		b.SetInt(event.Time, 1_700_000_000_000+int64(i))
		b.SetString(event.Source, "litellm.proxy")
		if i%3 != 2 {
			b.SetString(event.ActorUserName, fmt.Sprintf("user-%d", i%700))
			b.SetText(event.MessageContextPromptText, []byte("wrong"))
			b.SetText(event.MessageContextPromptText, fmt.Appendf(nil, "prompt %d", i))
			b.SetInt(event.MessageContextPromptTokens, int64(i))
			b.SetFloat(event.AICost, float64(i)/8)
			b.SetFloat(event.GuardrailScore, 0.5)
			b.SetIP(event.SrcEndpointIP, netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}))
			b.AppendKeyword(event.MetadataLabels, []byte("prod"))
			b.AppendKeyword(event.MetadataLabels, fmt.Appendf(nil, "team-%d", i%5))
			b.AppendScore(event.Scores, "attack", 0.25)
			b.SetInt(event.AIStream, 1)
		}
		b.EndRow()
	}
}

func TestRoundTrip(t *testing.T) {
	for _, rows := range []int{1, 3, 300, 70_000} {
		b := NewBuilder(event.FamilyAI)
		fill(b, rows)
		payload := b.AppendTo(nil, Header{Source: "litellm.proxy", RawSeq: 9, In: uint32(rows), Dropped: []Reason{{"duplicate stage", 2}}})
		var got Block
		if err := Decode(payload, &got); err != nil {
			t.Fatalf("%d rows: %v", rows, err)
		}
		if got.Rows() != rows || got.Header.RawSeq != 9 || got.Header.Dropped[0].Count != 2 {
			t.Fatalf("%d rows: header %+v", rows, got.Header)
		}
		if got.Column(event.ProcessName) != nil {
			t.Error("a column that nobody set is there")
		}
		for i := range rows {
			if u := got.Column(event.EventUID).UUID(i); u != UID("msg", uint32(i)) {
				t.Fatalf("row %d: uid %x", i, u)
			}
			want, ip, tokens, items := "", "", int64(0), 0
			if i%3 != 2 {
				want, ip, tokens, items = fmt.Sprintf("prompt %d", i), fmt.Sprintf("192.0.2.%d", byte(i)), int64(i), 2
			}
			if i >= 3*(rows/3) && rows%3 == 0 {
				continue
			}
			if s := got.Column(event.MessageContextPromptText).Text(i); s != want {
				t.Fatalf("row %d: prompt %q, want %q", i, s, want)
			}
			if s := got.Column(event.SrcEndpointIP).Text(i); s != ip {
				t.Fatalf("row %d: ip %q, want %q", i, s, ip)
			}
			if c := got.Column(event.MessageContextPromptTokens); c != nil && c.Int(i) != tokens {
				t.Fatalf("row %d: tokens %d", i, c.Int(i))
			}
			from, to := got.Column(event.MetadataLabels).List(i)
			if to-from != items {
				t.Fatalf("row %d: %d labels", i, to-from)
			}
			if items == 2 {
				c := got.Column(event.MetadataLabels)
				if s := c.Dict().At(int(c.ListKeys()[from+1])); s != fmt.Sprintf("team-%d", i%5) {
					t.Fatalf("row %d: label %q", i, s)
				}
			}
		}
	}
}

// TestNativeIsWhatClickHouseReads decodes the Native bytes with ch-go, an
// implementation that is not ours.
func TestNativeIsWhatClickHouseReads(t *testing.T) {
	b := NewBuilder(event.FamilyAI)
	fill(b, 1000)
	b.used[event.Scores] = false // ch-go infers no Map(LowCardinality, …)
	_, body, err := Split(b.AppendTo(nil, Header{}))
	if err != nil {
		t.Fatal(err)
	}
	native, err := body.Native(nil)
	if err != nil {
		t.Fatal(err)
	}
	var (
		results proto.Results
		block   proto.Block
	)
	if err := block.DecodeRawBlock(proto.NewReader(bytes.NewReader(native)), 0, results.Auto()); err != nil {
		t.Fatal(err)
	}
	if block.Rows != 1000 {
		t.Fatalf("%d rows", block.Rows)
	}
	for _, r := range results {
		if r.Name != "actor_user_name" {
			continue
		}
		col := r.Data.(*proto.ColLowCardinality[string])
		for i := range 1000 {
			want := ""
			if i%3 != 2 {
				want = fmt.Sprintf("user-%d", i%700)
			}
			if got := col.Row(i); got != want {
				t.Fatalf("row %d: %q, want %q", i, got, want)
			}
		}
		return
	}
	t.Fatal("ch-go found no actor_user_name")
}

func TestDropRow(t *testing.T) {
	b := NewBuilder(event.FamilyAI)
	fill(b, 4)
	b.SetString(event.ActorUserName, "gone")
	b.SetString(event.MessageContextPromptText, "gone")
	b.AppendKeyword(event.MetadataLabels, []byte("gone"))
	b.AppendScore(event.Scores, "gone", 1)
	b.SetInt(event.Time, 5)
	b.DropRow()
	b.SetInt(event.Time, 6)
	b.EndRow()
	var got Block
	if err := Decode(b.AppendTo(nil, Header{}), &got); err != nil {
		t.Fatal(err)
	}
	for _, id := range []event.ColumnID{event.ActorUserName, event.MessageContextPromptText, event.MetadataLabels, event.Scores} {
		if !got.Column(id).Absent(4) {
			t.Errorf("%s kept the dropped row", event.Columns[id].Path)
		}
	}
	if got.Column(event.Time).Int(4) != 6 {
		t.Error("time is not the last row's")
	}
}

func TestRawRoundTrip(t *testing.T) {
	records := []string{`{"a":1}`, "", "with\nnewline and \x00 and ; quotes '"}
	b := NewRawBuilder()
	for i, r := range records {
		b.Append(UID("m:1:0", uint32(i)), 1000+int64(i), []byte(r))
	}
	var got Raw
	if err := DecodeRaw(b.AppendTo(nil, Header{Source: "nginx.access", Auth: "edge-1"}), &got); err != nil {
		t.Fatal(err)
	}
	for i, r := range records {
		if string(got.Record(i)) != r || got.UID(i) != UID("m:1:0", uint32(i)) || got.Received(i) != 1000+int64(i) {
			t.Errorf("record %d: %q %x %d", i, got.Record(i), got.UID(i), got.Received(i))
		}
	}
	if got.Header.Source != "nginx.access" || got.Header.MinTime != 1000 || got.Header.MaxTime != 1002 {
		t.Errorf("header %+v", got.Header)
	}

	d := NewDeadBuilder()
	d.AppendDead(UID("x", 0), 7, []byte("bad"), "json", "parse: unexpected end")
	d.AppendDead(UID("x", 1), 7, []byte("worse"), "json", "parse: number")
	if err := DecodeRaw(d.AppendTo(nil, Header{Source: "nginx.access"}), &got); err != nil {
		t.Fatal(err)
	}
	if got.Reason(1) != "json" || got.Error(0) != "parse: unexpected end" || string(got.Record(1)) != "worse" {
		t.Errorf("dead letter: %q %q %q", got.Reason(1), got.Error(0), got.Record(1))
	}
}

func TestUIDIsDeterministicAndDistinct(t *testing.T) {
	a, b := UID("s:batch:0", 1), UID("s:batch:0", 1)
	if a != b {
		t.Error("the same message and row give different uids")
	}
	if cmp.Equal(a, UID("s:batch:0", 2)) || cmp.Equal(a, UID("s:batch:1", 1)) {
		t.Error("different rows or messages share a uid")
	}
	if a[6]>>4 != 8 || a[8]>>6 != 2 {
		t.Errorf("%x is not a UUID of version 8", a)
	}
}

func TestBuildingAllocatesNothing(t *testing.T) {
	b := NewBuilder(event.FamilyAI)
	prompt, user := []byte("tell me a story"), []byte("ana")
	var out []byte
	once := func() {
		b.Reset()
		for i := range 500 {
			b.SetInt(event.Time, int64(i+1))
			b.SetText(event.MessageContextPromptText, prompt)
			b.SetText(event.ActorUserName, user)
			b.AppendKeyword(event.MetadataLabels, user)
			b.EndRow()
		}
		out = b.AppendTo(out[:0], Header{Source: "x"})
	}
	once()
	if n := testing.AllocsPerRun(20, once); n > 0 {
		t.Errorf("%v allocations for a block of 500 events", n)
	}
	var got Block
	if err := Decode(out, &got); err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(20, func() { _ = Decode(out, &got) }); n > 3 { // the header's three strings
		t.Errorf("%v allocations to decode a block", n)
	}
}

// FuzzDecode: whatever the bytes, no panic and no column that lies about its size.
func FuzzDecode(f *testing.F) {
	b := NewBuilder(event.FamilyAI)
	fill(b, 5)
	f.Add(b.AppendTo(nil, Header{Source: "s", Dropped: []Reason{{"r", 1}}}))
	raw := NewDeadBuilder()
	raw.AppendDead(UID("x", 0), 7, []byte("bad"), "json", "parse")
	f.Add(raw.AppendTo(nil, Header{Source: "s"}))
	f.Fuzz(func(_ *testing.T, data []byte) {
		var blk Block
		if Decode(data, &blk) == nil {
			for id := range event.ColumnID(event.NumColumns) {
				c := blk.Column(id)
				for i := 0; c != nil && i < blk.Rows(); i++ {
					_, _, _, _ = c.Text(i), c.Int(i), c.Float(i), c.Absent(i)
				}
			}
		}
		var r Raw
		if DecodeRaw(data, &r) == nil {
			for i := range r.Len() {
				_, _, _, _ = r.UID(i), r.Record(i), r.Reason(i), r.Error(i)
			}
		}
	})
}

func BenchmarkBuild(b *testing.B) {
	build := NewBuilder(event.FamilyAI)
	var out []byte
	b.ReportAllocs()
	for n := 0; n < b.N; n += 1000 {
		build.Reset()
		fill(build, 1000)
		out = build.AppendTo(out[:0], Header{Source: "litellm.proxy"})
	}
}

func BenchmarkDecode(b *testing.B) {
	build := NewBuilder(event.FamilyAI)
	fill(build, 1000)
	payload := build.AppendTo(nil, Header{Source: "litellm.proxy"})
	var blk Block
	b.ReportAllocs()
	for n := 0; n < b.N; n += 1000 {
		if err := Decode(payload, &blk); err != nil {
			b.Fatal(err)
		}
	}
}
