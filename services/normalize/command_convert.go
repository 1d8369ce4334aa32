package normalize

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/normalize/internal/mapping"
)

func convertCommand(open func() fs.FS) *cobra.Command {
	var source, out string
	c := &cobra.Command{
		Use: "convert FILE…", Short: "Map records and write the events to a file of blocks", Args: cobra.MinimumNArgs(1),
		Long: "Maps the records of files (- for standard input, .gz is unpacked) as the hub does and writes the\nevents to a file of blocks, which `vagus rules bench --blocks` reads. A line is a record; of sources\nwhose records lie over several lines a whole file is read at once, 64 MiB at most.",
		Example: "  vagus sources convert --source microsoft.sysmon -o events.blocks sysmon.ndjson\n" +
			"  zcat logs/*.gz | vagus sources convert -o events.blocks -",
	}
	c.Flags().StringVar(&source, "source", auto, "the records' source; auto recognises each")
	c.Flags().StringVarP(&out, "output", "o", "", "file to write")
	_ = c.MarkFlagRequired("output") // fails only for a flag that does not exist
	c.RunE = func(cmd *cobra.Command, args []string) (err error) {
		set, err := mapping.Load(open())
		if set == nil {
			return err
		}
		if source != auto && set.Get(source) == nil {
			return fmt.Errorf("convert: %w", set.Missing(source))
		}
		f, err := os.Create(out)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, f.Close()) }()
		w := bufio.NewWriterSize(f, 1<<20)
		v := &converter{w: newWorker(set), source: source, out: w, raw: block.NewRawBuilder()}
		v.w.anyTime = true
		for _, name := range args {
			if err := v.file(cmd, name); err != nil {
				return fmt.Errorf("convert %s: %w", name, err)
			}
		}
		if err := v.flush(); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%d records, %d events in %d blocks, %d dropped, %d cannot be mapped\n", v.records, v.events, v.blocks, v.dropped, v.dead)
		if v.dead > 0 {
			fmt.Fprintf(cmd.ErrOrStderr(), "the first of these: %s\n", v.why)
		}
		return w.Flush()
	}
	return c
}

// converter maps records in portions, as the service maps RAW messages.
type converter struct {
	w      *worker
	source string
	out    io.Writer
	raw    *block.RawBuilder
	buf    []byte
	n      int // portions so far

	records, events, blocks, dropped, dead int
	why                                    string
}

// The bounds of a portion, those of a RAW message about.
const (
	portionRows  = 8192
	portionBytes = 8 << 20
)

func (v *converter) file(cmd *cobra.Command, name string) error {
	in := cmd.InOrStdin()
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer func() { _ = f.Close() }() // nothing was written
		in = f
	}
	if strings.HasSuffix(name, ".gz") {
		z, err := gzip.NewReader(in)
		if err != nil {
			return err
		}
		in = z
	}
	if m := v.w.set.Get(v.source); m != nil && m.Framing != (mapping.Framing{}) {
		data, err := io.ReadAll(io.LimitReader(in, maxInput+1))
		if err != nil {
			return err
		}
		if len(data) > maxInput {
			return fmt.Errorf("the records of %s lie over several lines, so that at most %d MiB can be read at once: split the file", v.source, maxInput>>20)
		}
		for _, rec := range mapping.Records(data, m.Framing) {
			if err := v.add(cmd, rec); err != nil {
				return err
			}
		}
		return nil
	}
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 0, 1<<20), maxInput)
	for lines.Scan() {
		if rec := bytes.TrimSpace(lines.Bytes()); len(rec) > 0 {
			if err := v.add(cmd, rec); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

func (v *converter) add(cmd *cobra.Command, rec []byte) error {
	if v.raw.Rows() == 0 {
		v.raw.Reset()
	}
	v.raw.Append(block.UID(fmt.Sprintf("convert:%d", v.n), uint32(v.raw.Rows())), time.Now().UnixMilli(), rec)
	if v.raw.Rows() < portionRows && v.raw.Size() < portionBytes {
		return nil
	}
	if err := cmd.Context().Err(); err != nil {
		return err
	}
	return v.flush()
}

// flush maps the portion and writes its blocks.
func (v *converter) flush() error {
	if v.raw.Rows() == 0 {
		return nil
	}
	v.n++
	v.buf = v.raw.AppendTo(v.buf[:0], block.Header{Source: v.source, Received: time.Now().UnixMilli()})
	v.raw.Reset()
	if err := block.DecodeRaw(v.buf, &v.w.raw); err != nil {
		return err
	}
	h := v.w.mapAll()
	v.records += int(h.In)
	v.dead += int(h.Dead)
	for _, d := range h.Dropped {
		v.dropped += int(d.Count)
	}
	if h.Dead > 0 && v.why == "" {
		v.why = v.firstDead()
	}
	var buf []byte
	for _, b := range v.w.builders {
		if b.Rows() == 0 {
			continue
		}
		v.events += b.Rows()
		v.blocks++
		buf = b.AppendTo(buf[:0], block.Header{Source: v.source, Received: v.w.raw.Header.Received})
		if err := block.WriteFramed(v.out, buf); err != nil {
			return err
		}
	}
	return nil
}

// firstDead says what is wrong with the first record that could not be mapped.
func (v *converter) firstDead() string {
	var dead block.Raw
	if err := block.DecodeRaw(v.w.dead.AppendTo(nil, block.Header{Source: v.source}), &dead); err != nil || dead.Len() == 0 {
		return ""
	}
	return fmt.Sprintf("%s: %s", dead.Reason(0), dead.Error(0))
}
