// Package bus carries messages between the stages: an embedded NATS server
// with JetStream on disk, a client for it or for any NATS cluster, and the
// delivery rules that every stage shares.
//
// # Who acknowledges, and when
//
// A publish has succeeded when its Ack arrived: with the embedded server the
// message is on disk and fsynced by then. A handler never acknowledges; it
// returns a Verdict. Its input is acknowledged once the handler returned Done
// and every output it published through the Delivery is acknowledged. A crash
// at any moment therefore repeats work and never loses any.
//
// # Repeats
//
// Outputs carry a deterministic message id, so a repeated output is dropped by
// the stream as long as the repeat comes within the duplicates window
// (Limits.Duplicates). Beyond the window, for example when a stage was down
// for hours between the output's ack and the input's, the repeat is stored
// again; consumers that must not count twice compare event uids (which are
// deterministic too) or insert with a deduplication token.
//
// # A full bus
//
// Streams refuse new messages rather than drop old ones: a full stream, a full
// disk, or a bus that is away gives ErrBusy to the publisher, which passes it
// on to whoever sends. Size limits would still jam a bus whose messages are
// all processed but not old enough to expire, so Trim removes the oldest
// messages that every durable consumer has acknowledged.
package bus
