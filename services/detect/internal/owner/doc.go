// Package owner divides work among the instances of a service that live at the
// moment: every item has one owner, the instances share the items evenly, and
// an item moves when instances come and go.
//
// Every instance keeps a heartbeat in a bucket that all of them watch, so all
// compute the same division from what they see: items go, in a fixed order, to
// the live instance with the highest hash of item and instance (rendezvous
// hashing, Thaler and Ravishankar 1998) that has no more than its share yet
// (bounded loads, Mirrokni et al. 2016). Who is to own an item takes its lease by
// compare-and-swap, once the lease is free or its holder is dead.
//
// A lease is not a lock: a process that was suspended may go on working on an
// item that is somebody else's by now. It makes double work rare; that double
// work is harmless is up to the work (bus.Claim fences what is saved).
package owner
