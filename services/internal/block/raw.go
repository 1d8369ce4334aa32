package block

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/zeebo/xxh3"
)

// RawBuilder frames records into a RAW block or, with reasons, a DEAD block.
// Columns: event_uid, received_at, source, raw and, for dead letters, reason
// and error. Buffers are reused; it is not safe for concurrent use.
type RawBuilder struct {
	kind     Kind
	uids     []byte
	received []byte
	raw      []byte
	reasons  columnBuilder
	errors   []byte
	native   []byte // the block before it is compressed
	rows     int
	first    int64
	last     int64
}

// NewRawBuilder makes a builder of RAW blocks.
func NewRawBuilder() *RawBuilder { return &RawBuilder{kind: KindRaw} }

// NewDeadBuilder makes a builder of DEAD blocks.
func NewDeadBuilder() *RawBuilder { return &RawBuilder{kind: KindDead} }

// Rows is the number of records.
func (b *RawBuilder) Rows() int { return b.rows }

// Size is about the size of the payload so far, in bytes.
func (b *RawBuilder) Size() int { return len(b.raw) + len(b.errors) + 24*b.rows + 256 }

// Reset forgets the records and keeps the buffers.
func (b *RawBuilder) Reset() {
	b.uids, b.received, b.raw, b.errors = b.uids[:0], b.received[:0], b.raw[:0], b.errors[:0]
	b.rows = 0
	b.reasons.kind = event.KindKeyword
	b.reasons.reset()
}

// Append adds a record with its uid and the time it was received.
func (b *RawBuilder) Append(uid [16]byte, receivedMS int64, record []byte) {
	v := swapUUID(uid)
	b.uids = append(b.uids, v[:]...)
	b.received = binary.LittleEndian.AppendUint64(b.received, uint64(receivedMS))
	b.raw = binary.AppendUvarint(b.raw, uint64(len(record)))
	b.raw = append(b.raw, record...)
	if b.rows == 0 || receivedMS < b.first {
		b.first = receivedMS
	}
	if b.rows == 0 || receivedMS > b.last {
		b.last = receivedMS
	}
	b.rows++
}

// AppendDead adds a record that could not be processed: a short reason that
// can be counted, and the error in full (cut at 2 KiB).
func (b *RawBuilder) AppendDead(uid [16]byte, receivedMS int64, record []byte, reason, text string) {
	if b.rows == 0 {
		b.Reset()
	}
	b.reasons.pad(b.rows)
	b.reasons.setText(b.rows, []byte(reason))
	if len(text) > 2048 {
		text = text[:2048]
	}
	b.errors = appendString(b.errors, text)
	b.Append(uid, receivedMS, record)
}

// AppendTo writes header and columns; kind, rows and times of the header are
// filled in.
func (b *RawBuilder) AppendTo(dst []byte, h Header) []byte {
	h.Kind, h.Rows, h.MinTime, h.MaxTime = b.kind, uint32(b.rows), b.first, b.last
	out := dst
	dst = b.native[:0]
	cols := uint64(4)
	if b.kind == KindDead {
		cols = 6
	}
	dst = binary.AppendUvarint(dst, cols)
	dst = binary.AppendUvarint(dst, uint64(b.rows))
	dst = append(appendString(appendString(dst, "event_uid"), "UUID"), b.uids...)
	dst = append(appendString(appendString(dst, "received_at"), timeType), b.received...)
	dst = appendString(appendString(dst, "source"), lowCardType)
	dst = appendConstant(dst, h.Source, b.rows)
	dst = append(appendString(appendString(dst, "raw"), "String"), b.raw...)
	if b.kind == KindDead {
		dst = appendString(appendString(dst, "reason"), lowCardType)
		dst = b.reasons.append(dst)
		dst = append(appendString(appendString(dst, "error"), "String"), b.errors...)
	}
	b.native = dst
	return appendMessage(out, &h, dst)
}

const (
	timeType    = "DateTime64(3, 'UTC')"
	lowCardType = "LowCardinality(String)"
)

// appendConstant writes a dictionary column that holds one value.
func appendConstant(dst []byte, v string, rows int) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, lowCardVersion)
	dst = binary.LittleEndian.AppendUint64(dst, lowCardFlags)
	dst = binary.LittleEndian.AppendUint64(dst, 2)
	dst = appendString(append(dst, 0), v)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(rows))
	for range rows {
		dst = append(dst, 1)
	}
	return dst
}

// Raw is a decoded RAW or DEAD block. What it returns is valid until the next
// DecodeRaw into it, and only while the payload is neither changed nor reused.
type Raw struct {
	Header   Header
	buf      []byte // the unpacked body
	uids     []byte
	received []byte
	raw      Column
	reason   Column
	text     Column
	source   Column
}

// DecodeRaw reads a RAW or DEAD payload; errors wrap ErrCorrupt.
func DecodeRaw(payload []byte, into *Raw) error {
	h, body, err := Split(payload)
	if err != nil {
		return err
	}
	if h.Kind != KindRaw && h.Kind != KindDead {
		return fmt.Errorf("decode raw: %w: kind %d is neither raw nor dead", ErrCorrupt, h.Kind)
	}
	into.Header = h
	rows := int(h.Rows)
	native, err := body.Native(into.buf)
	if err != nil {
		return err
	}
	if body.packed {
		into.buf = native
	}
	r := reader{buf: native}
	cols, err := r.blockSize(rows)
	if err != nil {
		return err
	}
	want := []string{"event_uid", "received_at", "source", "raw"}
	if h.Kind == KindDead {
		want = append(want, "reason", "error")
	}
	if cols != len(want) {
		return fmt.Errorf("decode raw: %w: %d columns", ErrCorrupt, cols)
	}
	for _, w := range want {
		name, typ := r.bytes(maxName), r.bytes(maxName)
		kind, ok := kindOfType(typ)
		if r.failed || !ok || string(name) != w {
			return fmt.Errorf("decode raw: %w: column %q of type %q, want %q", ErrCorrupt, name, typ, w)
		}
		var c Column
		switch w {
		case "source":
			c = into.source
		case "raw":
			c = into.raw
		case "reason":
			c = into.reason
		case "error":
			c = into.text
		}
		c.decode(&r, kind, rows)
		if r.failed {
			return fmt.Errorf("decode raw: %w: column %q is damaged", ErrCorrupt, w)
		}
		if err := into.keep(w, c); err != nil {
			return err
		}
	}
	if len(r.rest()) != 0 {
		return fmt.Errorf("decode raw: %w: %d bytes too many", ErrCorrupt, len(r.rest()))
	}
	return nil
}

// keep checks a column's layout and files it.
func (b *Raw) keep(name string, c Column) error {
	want := map[string]string{"event_uid": "UUID", "received_at": timeType, "source": lowCardType, "raw": "String", "reason": lowCardType, "error": "String"}
	if c.kind.ClickHouseType() != want[name] {
		return fmt.Errorf("decode raw: %w: column %q has type %s", ErrCorrupt, name, c.kind.ClickHouseType())
	}
	switch name {
	case "event_uid":
		b.uids = c.fixed
	case "received_at":
		b.received = c.fixed
	case "source":
		b.source = c
	case "raw":
		b.raw = c
	case "reason":
		b.reason = c
	case "error":
		b.text = c
	}
	return nil
}

// Len is the number of records.
func (b *Raw) Len() int { return int(b.Header.Rows) }

// UID is the event uid of a record in the usual byte order.
func (b *Raw) UID(i int) [16]byte { return swapUUID([16]byte(b.uids[i*16 : i*16+16])) }

// Received is when ingest took the record, ms since 1970.
func (b *Raw) Received(i int) int64 { return int64(binary.LittleEndian.Uint64(b.received[i*8:])) }

// Record is the record's text, sharing memory with the Raw.
func (b *Raw) Record(i int) []byte { return b.raw.Bytes(i) }

// Reason is why a dead letter died; "" in RAW blocks.
func (b *Raw) Reason(i int) string {
	if b.Header.Kind != KindDead {
		return ""
	}
	return b.reason.Text(i)
}

// Error is a dead letter's error in full; "" in RAW blocks.
func (b *Raw) Error(i int) string {
	if b.Header.Kind != KindDead {
		return ""
	}
	return b.text.Text(i)
}

// UID makes the uid of record row of the message with the given id: a UUID of
// version 8 (RFC 9562) whose first twelve bytes are a hash of the message id
// and whose last four are the row, so that it is the same however often the
// message is sent, and compresses well.
func UID(messageID string, row uint32) [16]byte {
	h := xxh3.HashString128(messageID)
	var u [16]byte
	binary.BigEndian.PutUint64(u[0:], h.Hi)
	binary.BigEndian.PutUint32(u[8:], uint32(h.Lo))
	binary.BigEndian.PutUint32(u[12:], row)
	u[6] = u[6]&0x0f | 0x80
	u[8] = u[8]&0x3f | 0x80
	return u
}

// NowMS is the current time in the unit of blocks.
func NowMS() int64 { return time.Now().UnixMilli() }
