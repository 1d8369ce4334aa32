package block

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/schemas/event"
)

// natives are the bodies of blocks of random events, and the blocks as JSON.
func natives(t testing.TB, n int) (stream []byte, want []string) {
	t.Helper()
	for i := range n {
		b := NewBuilder(event.FamilyAI)
		for row := range 50 * i * i { // also none
			b.SetInt(event.Time, int64(1000+row))
			b.SetString(event.Source, []string{"one", "two", ""}[row%3])
			b.SetString(event.MessageContextPromptText, string(bytes.Repeat([]byte{byte('a' + row%26)}, row%300)))
			b.SetInt(event.HTTPResponseCode, int64(row))
			if row%2 == 0 {
				b.AppendKeyword(event.MetadataLabels, []byte("label"))
				b.AppendScore(event.Scores, "s", 0.5)
			}
			b.EndRow()
		}
		var decoded Block
		payload := b.AppendTo(nil, Header{Kind: KindEvents})
		if err := Decode(payload, &decoded); err != nil {
			t.Fatal(err)
		}
		_, body, err := Split(payload)
		if err != nil {
			t.Fatal(err)
		}
		native, err := body.Native(nil)
		if err != nil {
			t.Fatal(err)
		}
		stream = append(stream, native...)
		if decoded.Rows() > 0 {
			want = append(want, rowsOf(&decoded))
		}
	}
	return stream, want
}

func rowsOf(b *Block) string {
	var out []byte
	for row := range b.Rows() {
		out = append(b.AppendJSON(out, row), '\n')
	}
	return string(out)
}

func TestNativeReader(t *testing.T) {
	stream, want := natives(t, 6)
	for name, wrap := range map[string]func(io.Reader) io.Reader{
		"whole": func(r io.Reader) io.Reader { return r }, "bytes": iotest.OneByteReader, "half": iotest.HalfReader, "end with data": iotest.DataErrReader,
	} {
		t.Run(name, func(t *testing.T) {
			n := NewNativeReader(wrap(bytes.NewReader(stream)), Header{Family: uint8(event.FamilyAI)})
			var got []string
			var b Block
			for {
				err := n.Next(&b)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if b.Header.MinTime != 1000 || b.Header.MaxTime != int64(999+b.Rows()) || b.Header.Family != uint8(event.FamilyAI) {
					t.Errorf("header %+v", b.Header)
				}
				got = append(got, rowsOf(&b))
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	t.Run("cut short", func(t *testing.T) {
		n := NewNativeReader(bytes.NewReader(stream[:len(stream)-1]), Header{})
		var b Block
		var err error
		for err == nil {
			err = n.Next(&b)
		}
		if !errors.Is(err, ErrCorrupt) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the source fails", func(t *testing.T) {
		broken := errors.New("broken")
		n := NewNativeReader(io.MultiReader(bytes.NewReader(stream[:len(stream)-1]), iotest.ErrReader(broken)), Header{})
		var b Block
		var err error
		for err == nil {
			err = n.Next(&b)
		}
		if !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
	})
}

func FuzzNativeReader(f *testing.F) {
	stream, _ := natives(f, 3)
	f.Add(stream)
	f.Add([]byte{1, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		n := NewNativeReader(bytes.NewReader(data), Header{})
		var b Block
		for {
			if err := n.Next(&b); err != nil {
				return
			}
			rowsOf(&b) // every index that was let in can be followed
		}
	})
}
