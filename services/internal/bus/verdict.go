package bus

import "time"

type verdictKind uint8

const (
	kindDone verdictKind = iota
	kindRetry
	kindPermanent
	kindDrop
)

// Verdict is what a handler decides about its input. Make one with Done,
// Retry, RetryAfter, Permanent or Drop; the zero value is Done.
type Verdict struct {
	kind   verdictKind
	reason string
	err    error
	after  time.Duration
}

// Done says the input is processed: acknowledge it when all outputs published
// through the Delivery are acknowledged.
func Done() Verdict { return Verdict{} }

// Retry says something outside the message failed: deliver it again, after a
// delay that grows with the attempts.
func Retry(err error) Verdict { return Verdict{kind: kindRetry, err: err} }

// RetryAfter is Retry after d, for a failure that says when to come back.
func RetryAfter(err error, d time.Duration) Verdict {
	return Verdict{kind: kindRetry, err: err, after: max(d, time.Millisecond)}
}

// Permanent says no retry will help: write a dead letter, then acknowledge.
// The reason is a short constant for counting, the error is for a person.
func Permanent(reason string, err error) Verdict {
	return Verdict{kind: kindPermanent, reason: reason, err: err}
}

// Drop says the message is of no use on purpose (a filter, a newer version):
// acknowledge it and count the reason.
func Drop(reason string) Verdict { return Verdict{kind: kindDrop, reason: reason} }
