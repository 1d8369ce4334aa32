package otlp

import (
	"encoding/binary"
	"errors"
	"math"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

var (
	// errMalformed: the bytes are no protobuf message; the request is refused.
	errMalformed = errors.New("malformed protobuf")
	// errDeep: brackets within brackets beyond the limit; the record is dead.
	errDeep = errors.New("nested too deep")
)

// writer turns protobuf into OTLP-JSON by one walk over the bytes: nothing is
// decoded into structs, so nothing is allocated once dst is large enough.
type writer struct {
	dst      []byte
	maxDepth int // brackets
}

// value is what a field carries: a number, or bytes.
type value struct {
	n uint64
	b []byte
}

// next takes a field off b. Fields that m does not know, or that have another
// wire type than they should, give f == nil.
func next(m *message, b []byte) (f *field, number int, typ protowire.Type, v value, rest []byte, err error) {
	var tag uint64
	n := 1
	if c := b[0]; c >= 8 && c < 0x80 {
		tag = uint64(c)
	} else if tag, n = protowire.ConsumeVarint(b); n < 0 || tag>>3 == 0 || tag>>3 > uint64(protowire.MaxValidNumber) {
		return nil, 0, 0, v, nil, errMalformed
	}
	number, typ = int(tag>>3), protowire.Type(tag&7)
	b = b[n:]
	switch typ {
	case protowire.BytesType:
		if len(b) > 0 && b[0] < 0x80 {
			n = 1 + int(b[0])
			if n > len(b) {
				return nil, 0, 0, v, nil, errMalformed
			}
			v.b = b[1:n]
		} else if v.b, n = protowire.ConsumeBytes(b); n < 0 {
			return nil, 0, 0, v, nil, errMalformed
		}
	case protowire.VarintType:
		v.n, n = protowire.ConsumeVarint(b)
	case protowire.Fixed64Type:
		v.n, n = protowire.ConsumeFixed64(b)
	case protowire.Fixed32Type:
		var u uint32
		u, n = protowire.ConsumeFixed32(b)
		v.n = uint64(u)
	default: // groups, which OTLP has none of
		n = protowire.ConsumeFieldValue(protowire.Number(number), typ, b)
	}
	if n < 0 {
		return nil, 0, 0, v, nil, errMalformed
	}
	if number < len(m.fields) {
		if known := &m.fields[number]; known.kind != none && known.takes(typ) {
			f = known
		}
	}
	return f, number, typ, v, b[n:], nil
}

// wire is how a single value of the kind travels.
func (k kind) wire() protowire.Type {
	switch k {
	case boolean, i32, u32, i64, u64, z32:
		return protowire.VarintType
	case f32:
		return protowire.Fixed32Type
	case f64, s64, double:
		return protowire.Fixed64Type
	}
	return protowire.BytesType
}

func (f *field) takes(typ protowire.Type) bool {
	want := f.kind.wire()
	return typ == want || f.repeated && typ == protowire.BytesType
}

// object writes a message. depth is the number of brackets that are open.
func (w *writer) object(m *message, b []byte, depth int) error {
	if depth++; depth > w.maxDepth {
		return errDeep
	}
	if m.shape == keyValue {
		if key, val, ok := pair(b); ok {
			w.dst = append(w.dst, `{"key":`...)
			w.dst = appendString(w.dst, key)
			w.dst = append(w.dst, `,"value":`...)
			if err := w.object(m.fields[2].msg, val, depth); err != nil {
				return err
			}
			w.dst = append(w.dst, '}')
			return nil
		}
	}
	if m.shape == anyValue && len(b) >= 2 && b[0] == 0x0a && int(b[1]) == len(b)-2 && b[1] < 0x80 {
		w.dst = appendString(append(w.dst, `{"stringValue":`...), b[2:])
		w.dst = append(w.dst, '}')
		return nil
	}
	ok, err := regular(m, b)
	if err != nil {
		return err
	}
	if !ok {
		if b, err = regularize(m, b); err != nil {
			return err
		}
	}
	w.dst = append(w.dst, '{')
	if err := w.fields(m, b, depth); err != nil {
		return err
	}
	w.dst = append(w.dst, '}')
	return nil
}

// pair reads a KeyValue in its usual form: a short key, a value, no more.
func pair(b []byte) (key, val []byte, ok bool) {
	if len(b) < 4 || b[0] != 0x0a || b[1] >= 0x80 || b[1] == 0 {
		return nil, nil, false
	}
	end := 2 + int(b[1])
	if end+2 > len(b) || b[end] != 0x12 {
		return nil, nil, false
	}
	val, n := protowire.ConsumeBytes(b[end+1:])
	return b[2:end], val, n == len(b)-end-1
}

// fields writes the fields of a regular message.
func (w *writer) fields(m *message, b []byte, depth int) error {
	list := 0 // number of the list whose bracket is open
	comma := false
	for len(b) > 0 {
		f, number, typ, v, rest, err := next(m, b)
		if err != nil {
			return err
		}
		b = rest
		if f != nil && (f.kind == i32 || f.kind == u32 || f.kind == z32) {
			v.n &= math.MaxUint32
		}
		if f == nil || !f.repeated && !f.always && f.kind != sub && v.n == 0 && len(v.b) == 0 {
			continue
		}
		packed := f.repeated && typ == protowire.BytesType && f.kind.wire() != protowire.BytesType
		if packed && len(v.b) == 0 {
			continue
		}
		if list != number {
			if list != 0 {
				w.dst = append(w.dst, ']')
			}
			list = 0
			if comma {
				w.dst = append(w.dst, ',')
			}
			comma = true
			w.dst = append(w.dst, f.name...)
			if f.repeated {
				if depth+1 > w.maxDepth {
					return errDeep
				}
				list = number
				w.dst = append(w.dst, '[')
			}
		} else {
			w.dst = append(w.dst, ',')
		}
		switch {
		case packed:
			err = w.packed(f, v.b)
		case f.kind == sub:
			inner := depth
			if f.repeated {
				inner++
			}
			err = w.object(f.msg, v.b, inner)
		default:
			w.scalar(f.kind, v)
		}
		if err != nil {
			return err
		}
	}
	if list != 0 {
		w.dst = append(w.dst, ']')
	}
	return nil
}

// packed writes the numbers of a packed list, which is not empty.
func (w *writer) packed(f *field, b []byte) error {
	for i := 0; len(b) > 0; i++ {
		var v value
		n := 0
		if f.kind.wire() == protowire.VarintType {
			v.n, n = protowire.ConsumeVarint(b)
		} else {
			v.n, n = protowire.ConsumeFixed64(b)
		}
		if n < 0 {
			return errMalformed
		}
		b = b[n:]
		if i > 0 {
			w.dst = append(w.dst, ',')
		}
		w.scalar(f.kind, v)
	}
	return nil
}

func (w *writer) scalar(k kind, v value) {
	switch k {
	case text:
		w.dst = appendString(w.dst, v.b)
	case octets:
		w.dst = appendBase64(w.dst, v.b)
	case hexBytes:
		w.dst = appendHex(w.dst, v.b)
	case boolean:
		w.dst = strconv.AppendBool(w.dst, v.n != 0)
	case i32:
		w.dst = strconv.AppendInt(w.dst, int64(int32(v.n)), 10)
	case z32:
		w.dst = strconv.AppendInt(w.dst, int64(int32(protowire.DecodeZigZag(uint64(uint32(v.n))))), 10)
	case u32, f32:
		w.dst = strconv.AppendUint(w.dst, uint64(uint32(v.n)), 10)
	case i64, s64:
		w.dst = appendQuotedInt(w.dst, int64(v.n))
	case u64, f64:
		w.dst = appendQuotedUint(w.dst, v.n)
	case double:
		w.dst = appendDouble(w.dst, math.Float64frombits(v.n))
	}
}

// regular reports whether fields come as every encoder writes them: the
// elements of a list one after the other, everything else once.
func regular(m *message, b []byte) (bool, error) {
	seen, last, group := uint64(0), 0, false
	for len(b) > 0 {
		f, number, _, _, rest, err := next(m, b)
		if err != nil {
			return false, err
		}
		b = rest
		if f == nil || number == last && f.repeated {
			continue
		}
		if bit := uint64(1) << number; seen&bit != 0 || f.group && group {
			return false, nil
		} else {
			seen |= bit
		}
		group = group || f.group
		last = number
	}
	return true, nil
}

// regularize puts the fields of a message into that form. Protobuf allows any
// order: lists collect, of other fields the last counts, and messages that come
// in pieces are one message, which is their bytes one after the other.
func regularize(m *message, b []byte) ([]byte, error) {
	out := make([]byte, 0, len(b)+16)
	member, from := 0, 0 // which of the oneof counts, and from which byte
	for at := b; len(at) > 0; {
		f, number, _, _, rest, err := next(m, at)
		if err != nil {
			return nil, err
		}
		if f != nil && f.group && number != member {
			member, from = number, len(b)-len(at)
		}
		at = rest
	}
	for want := range m.fields {
		w := &m.fields[want]
		if w.kind == none || w.group && want != member {
			continue
		}
		at := b
		if w.group {
			at = b[from:]
		}
		var last, whole []byte
		found := false
		for len(at) > 0 {
			f, number, _, v, rest, err := next(m, at)
			if err != nil {
				return nil, err
			}
			raw := at[:len(at)-len(rest)]
			at = rest
			switch {
			case f == nil || number != want:
			case w.repeated:
				out = append(out, raw...)
			case w.kind == sub:
				whole, found = append(whole, v.b...), true
			default:
				last = raw
			}
		}
		out = append(out, last...)
		if found {
			out = binary.AppendUvarint(out, uint64(want)<<3|uint64(protowire.BytesType))
			out = append(binary.AppendUvarint(out, uint64(len(whole))), whole...)
		}
	}
	return out, nil
}
