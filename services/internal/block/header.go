package block

import (
	"encoding/binary"
	"fmt"
)

// Kind says what the rows of a block are.
type Kind uint8

// The kinds of block.
const (
	KindRaw    Kind = 1 // records as received
	KindDead   Kind = 2 // records that could not be processed, with the reason
	KindEvents Kind = 3 // events of one family
)

// Header stands before the Native bytes. It carries what routing and the
// ledger need, so that nobody decodes columns for that.
type Header struct {
	Kind     Kind
	Schema   uint16 // event.SchemaVersion of the writer
	Family   uint8  // event.Family; 0 for raw and dead
	Source   string // source id
	Auth     string // id of the credential that delivered it; raw only
	Remote   string // address of the sender; raw only
	Envelope string // what the receiver got around each record (services/ingest/internal/intake); raw only
	Rows     uint32
	MinTime  int64  // smallest event time (raw: received), ms since 1970
	MaxTime  int64  // largest
	Received int64  // when ingest took the records, ms since 1970
	RawSeq   uint64 // RAW stream sequence that the rows come from; 0 in raw blocks

	// Accounting of one input message; only its first output carries it, so
	// that adding up headers counts every record once: In + Extra = the rows of
	// all outputs + Dead + the sum of Dropped. Extra counts events beyond the
	// first of records that hold several (a batch of spans, say).
	In      uint32
	Extra   uint32
	Dead    uint32
	Dropped []Reason
	Replay  bool // records that were stored before and come from a dead letter

	packed bool // the body is compressed
}

// Reason counts records that were dropped on purpose.
type Reason struct {
	Name  string
	Count uint32
}

var magic = [3]byte{'V', 'B', 1}

// append writes the header.
func (h *Header) append(dst []byte) []byte {
	dst = append(dst, magic[0], magic[1], magic[2], byte(h.Kind))
	dst = binary.AppendUvarint(dst, uint64(h.Schema))
	dst = append(dst, h.Family, h.flags())
	dst = appendString(dst, h.Source)
	dst = appendString(dst, h.Auth)
	dst = appendString(dst, h.Remote)
	if h.Envelope != "" {
		dst = appendString(dst, h.Envelope)
	}
	dst = binary.AppendUvarint(dst, uint64(h.Rows))
	dst = binary.AppendVarint(dst, h.MinTime)
	dst = binary.AppendVarint(dst, h.MaxTime)
	dst = binary.AppendVarint(dst, h.Received)
	dst = binary.AppendUvarint(dst, h.RawSeq)
	dst = binary.AppendUvarint(dst, uint64(h.In))
	dst = binary.AppendUvarint(dst, uint64(h.Extra))
	dst = binary.AppendUvarint(dst, uint64(h.Dead))
	dst = binary.AppendUvarint(dst, uint64(len(h.Dropped)))
	for _, r := range h.Dropped {
		dst = appendString(dst, r.Name)
		dst = binary.AppendUvarint(dst, uint64(r.Count))
	}
	return dst
}

// Split splits a payload into its header and its body, which is checked only by
// Decode. The body shares memory with the payload.
func Split(payload []byte) (Header, Body, error) {
	r := reader{buf: payload}
	var h Header
	for _, m := range magic {
		if r.byte() != m {
			return h, Body{}, fmt.Errorf("read header: %w: no block magic", ErrCorrupt)
		}
	}
	h.Kind = Kind(r.byte())
	h.Schema = uint16(r.uvarint())
	h.Family = r.byte()
	flags := r.byte()
	h.Replay, h.packed = flags&flagReplay != 0, flags&flagPacked != 0
	h.Source = string(r.bytes(maxName))
	h.Auth = string(r.bytes(maxName))
	h.Remote = string(r.bytes(maxName))
	if flags&flagEnvelope != 0 {
		h.Envelope = string(r.bytes(maxName))
	}
	rows := r.uvarint()
	h.MinTime, h.MaxTime, h.Received = r.varint(), r.varint(), r.varint()
	h.RawSeq = r.uvarint()
	h.In, h.Extra, h.Dead = uint32(r.uvarint()), uint32(r.uvarint()), uint32(r.uvarint())
	n := r.uvarint()
	if rows > MaxRows || n > maxReasons {
		return h, Body{}, fmt.Errorf("read header: %w: %d rows, %d reasons", ErrCorrupt, rows, n)
	}
	h.Rows = uint32(rows)
	for range n {
		h.Dropped = append(h.Dropped, Reason{Name: string(r.bytes(maxName)), Count: uint32(r.uvarint())})
	}
	if r.failed {
		return h, Body{}, fmt.Errorf("read header: %w: cut short", ErrCorrupt)
	}
	body, err := newBody(r.rest(), h.packed)
	return h, body, err
}

// The bits of the header's flags.
const (
	flagReplay   = 1 << iota // Replay
	flagEnvelope             // Envelope follows Remote
	flagPacked               // the body is compressed with S2
)

func (h *Header) flags() byte {
	var f byte
	if h.Replay {
		f |= flagReplay
	}
	if h.Envelope != "" {
		f |= flagEnvelope
	}
	if h.packed {
		f |= flagPacked
	}
	return f
}

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}
