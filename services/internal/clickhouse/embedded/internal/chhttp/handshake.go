//go:build linux || darwin

package chhttp

import (
	"encoding/binary"
	"strings"
)

// isHandshake recognises the query with which clickhouse-go begins. It asks
// for Native at its own protocol revision, but the engine writes Native at
// revision 0. The client decodes all that follows at the revision which the
// answer to this query reports, so the answer is written by hand: encoded at
// the client's revision, it reports 0.
func isHandshake(q *request) bool {
	return q.args.raw["client_protocol_version"] != "" && q.args.raw["client_protocol_version"] != "0" &&
		strings.Join(strings.Fields(strings.TrimSuffix(strings.TrimSpace(q.st.SQL), ";")), " ") ==
			"SELECT displayName(), version(), revision(), timezone()"
}

// handshake is one row as a Native block with block info and without custom
// serialisation.
func handshake(version string) []byte {
	var b []byte
	str := func(s string) {
		b = binary.AppendUvarint(b, uint64(len(s)))
		b = append(b, s...)
	}
	column := func(name, typ string) {
		str(name)
		str(typ)
		b = append(b, 0) // no custom serialisation
	}
	b = append(b, 1, 0, 2)                           // block info: no overflow rows,
	b = binary.LittleEndian.AppendUint32(b, 1<<32-1) // bucket -1
	b = append(b, 0)
	b = append(b, 4, 1) // columns, rows
	column("displayName()", "String")
	str("vagus")
	column("version()", "String")
	str(version)
	column("revision()", "UInt32")
	b = binary.LittleEndian.AppendUint32(b, 0)
	column("timezone()", "String")
	str("UTC")
	return b
}
