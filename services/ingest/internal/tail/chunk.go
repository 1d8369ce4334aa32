package tail

import (
	"bytes"
	"fmt"

	"github.com/vagus-hub/vagus/services/ingest/internal/frame"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// keepOfLong is how much of a line beyond the limit is kept.
const keepOfLong = 64 << 10

// chunker cuts what was read of a file into records. The same bytes under the
// same state give the same records, so a batch can be submitted again.
type chunker struct {
	framing  frame.Framing
	envelope string
	limits   frame.Limits
}

// chunk is the result: a batch, and the state after it.
type chunk struct {
	body   []byte
	frames frame.Frames
	used   int // bytes of the file
	skip   bool
	header string
}

// cut cuts data, which begins at a record. whole: everything belongs to the
// chunk, also a line without its end and a record that more lines may join.
// used 0: more bytes are needed.
func (c *chunker) cut(data []byte, skip bool, header string, whole bool, out *chunk) error {
	out.frames.Reset()
	out.body, out.used, out.skip, out.header = nil, 0, false, header
	if skip {
		i := bytes.IndexByte(data, '\n')
		if out.used = i + 1; i < 0 {
			out.used, out.skip = len(data), true
		}
		return nil
	}
	end := bytes.LastIndexByte(data, '\n') + 1
	switch {
	case end == 0 && len(data) > c.limits.MaxRecord:
		out.used, out.skip = len(data), true
		out.body = data[:min(len(data), keepOfLong)]
		out.frames.Bad = append(out.frames.Bad, frame.Bad{Span: frame.Span{End: uint32(len(out.body))}, Reason: frame.ReasonTooLong,
			Error: fmt.Sprintf("line of more than %d bytes", c.limits.MaxRecord)})
		return nil
	case whole:
		end = len(data)
	case end == 0:
		return nil
	}
	if err := c.frame(data[:end], out); err != nil {
		return err
	}
	out.used = end
	if !whole && c.open(out) {
		// The last record may go on: it waits.
		last := len(out.frames.Records) - 1
		off := int(out.frames.Records[last].Off)
		out.frames.Records = out.frames.Records[:last]
		out.body, out.used = out.body[:off], off
	}
	return nil
}

// frame frames whole lines.
func (c *chunker) frame(data []byte, out *chunk) (err error) {
	fr := c.framing
	if c.envelope != intake.Bare {
		out.body = data
		if err = frame.Lines(data, c.limits, &out.frames); err == nil {
			c.join(out)
		}
		return err
	}
	switch {
	case !fr.Several() || frame.LooksJSON(data) && (fr.Header == "" || out.header == ""):
		// A file grows by lines, also one of JSON.
		out.body = data
		if fr.Header != "" {
			out.header = lastHeader(data, fr.Header, "")
		}
		return frame.Lines(data, c.limits, &out.frames)
	case fr.Header != "":
		body := data
		begins := bytes.HasPrefix(data, []byte(fr.Header))
		if out.header != "" && !begins {
			body = append([]byte(out.header), data...)
		}
		out.header = lastHeader(data, fr.Header, out.header)
		out.body, err = fr.Frame(body, c.limits, &out.frames)
		return err
	}
	out.body, err = fr.Frame(data, c.limits, &out.frames)
	return err
}

// lastHeader is the last block of header lines, at most 16 KiB; header if
// there is none.
func lastHeader(data []byte, prefix, header string) string {
	from, to, inside := -1, -1, false
	for pos := 0; pos < len(data); {
		next := len(data)
		if i := bytes.IndexByte(data[pos:], '\n'); i >= 0 {
			next = pos + i + 1
		}
		is := bytes.HasPrefix(data[pos:next], []byte(prefix))
		if is && !inside {
			from = pos
		}
		if is {
			to = next
		}
		inside, pos = is, next
	}
	if from < 0 || to-from > 16<<10 {
		return header
	}
	return string(data[from:to])
}

// open reports whether more lines may join the last record.
func (c *chunker) open(out *chunk) bool {
	n := len(out.frames.Records)
	if n == 0 {
		return false
	}
	last := out.frames.Records[n-1]
	if len(out.frames.Bad) > 0 && out.frames.Bad[len(out.frames.Bad)-1].Off > last.Off {
		return false
	}
	if c.envelope != intake.Bare {
		line := out.body[last.Off:last.End]
		if i := bytes.LastIndexByte(line, '\n'); i >= 0 {
			line = line[i+1:]
		}
		_, more := partial(c.envelope, line)
		return more
	}
	return (c.framing.Start != nil || c.framing.Group != nil) && !frame.LooksJSON(out.body)
}

// join makes one record of the parts into which a container runtime has cut a
// long line, with what is between them.
func (c *chunker) join(out *chunk) {
	records := out.frames.Records
	kept := records[:0]
	joining, stream := false, byte(0)
	for _, r := range records {
		s, more := partial(c.envelope, out.body[r.Off:r.End])
		if joining && s == stream && int(r.End-kept[len(kept)-1].Off) <= c.limits.MaxRecord {
			kept[len(kept)-1].End = r.End
		} else {
			kept = append(kept, r)
		}
		joining, stream = more, s
	}
	out.frames.Records = kept
}

// partial reports whether a line of a container log goes on in the next one,
// and a byte that tells the streams apart.
func partial(envelope string, line []byte) (stream byte, more bool) {
	if envelope == intake.Docker { // {"log":"…\n","stream":"stdout","time":…}
		i := bytes.LastIndex(line, []byte(`","stream":"std`))
		if i < 2 || i+15 >= len(line) {
			return 0, false
		}
		return line[i+15], string(line[i-2:i]) != `\n`
	}
	_, rest, _ := bytes.Cut(line, []byte(" ")) // time stream P|F text
	name, rest, ok := bytes.Cut(rest, []byte(" "))
	if !ok || len(name) < 4 {
		return 0, false
	}
	return name[3], len(rest) > 1 && rest[0] == 'P' && (rest[1] == ' ' || rest[1] == ':')
}
