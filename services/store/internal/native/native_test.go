package native

import (
	"bytes"
	"testing"
	"time"

	"github.com/ClickHouse/ch-go/proto"
)

// TestAgainstChGo decodes with an implementation that is not ours.
func TestAgainstChGo(t *testing.T) {
	table := New("s", String, "n", UInt64, "at", Time, "list", Strings, "map", Counts, "id", UUID, "f", Float64)
	at := time.UnixMilli(1_700_000_000_123).UTC()
	for i := range 3 {
		if err := table.Add("text", uint64(i), at, []string{"a", "b"}[:i%3], map[string]uint64{"k": 7}, [16]byte{1, 2, 15: 9}, 0.5); err != nil {
			t.Fatal(err)
		}
	}
	var (
		s, n, id, f = new(proto.ColStr), new(proto.ColUInt64), new(proto.ColUUID), new(proto.ColFloat64)
		when        = new(proto.ColDateTime64).WithPrecision(3)
		list        = new(proto.ColStr).Array()
		m           = proto.NewMap[string, uint64](new(proto.ColStr), new(proto.ColUInt64))
		blk         proto.Block
	)
	err := blk.DecodeRawBlock(proto.NewReader(bytes.NewReader(table.Append(nil))), 0, proto.Results{
		{Name: "s", Data: s}, {Name: "n", Data: n}, {Name: "at", Data: when}, {Name: "list", Data: list}, {Name: "map", Data: m}, {Name: "id", Data: id}, {Name: "f", Data: f},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.Row(2) != "text" || n.Row(2) != 2 || !when.Row(1).Equal(at) || len(list.Row(2)) != 2 || list.Row(2)[1] != "b" || m.Row(0)["k"] != 7 ||
		id.Row(0) != [16]byte{1, 2, 15: 9} || f.Row(0) != 0.5 {
		t.Errorf("%v %v %v %v %v %v", s.Row(2), n.Row(2), when.Row(1), list.Row(2), m.Row(0), id.Row(0))
	}
}

func TestAddRefuses(t *testing.T) {
	table := New("s", String, "n", UInt64)
	if table.Add("x") == nil || table.Add("x", int64(1)) == nil || table.Add("x", struct{}{}) == nil {
		t.Error("a row that does not fit was taken")
	}
}
