// Package block is the unit of flow: a batch of records in columns. A message
// on the bus is a Header followed by one ClickHouse Native block (protocol
// revision 0, as HTTP inserts take it), so that what normalize builds is what
// detect reads in place and what the store forwards to ClickHouse unchanged.
//
// Reading copies no text: columns point into the payload, or into the bytes that it was unpacked to. Building allocates
// nothing per record once the buffers have grown. Layouts follow ClickHouse's
// Native format: https://clickhouse.com/docs/interfaces/formats/Native.
package block

import "errors"

// Limits on what is decoded: blocks come from the bus, but a damaged or forged
// one must give an error and not exhaust memory.
const (
	MaxRows    = 1 << 20
	maxColumns = 1024
	maxReasons = 256
	maxName    = 256
	maxNative  = 1 << 30 // bytes of one block of a NativeReader
)

// ErrCorrupt is wrapped by every error of decoding.
var ErrCorrupt = errors.New("corrupt block")
