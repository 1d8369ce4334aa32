package bus

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

var (
	// ErrBusy says: nothing is wrong with the message, the bus cannot take it
	// now (stream full, no disk space, server away, too much in flight). Try
	// again later with the same message id, and slow the sender down.
	ErrBusy = errors.New("bus busy")
	// ErrRefused says: the bus will never take this message as it is (too
	// large, no such subject, no permission).
	ErrRefused = errors.New("bus refused")
	// ErrClosed says the Bus was closed by its owner.
	ErrClosed = errors.New("bus closed")
	// ErrNotFound says there is no such key, message, or checkpoint.
	ErrNotFound = errors.New("not found")
	// ErrExists says Create found the key in place.
	ErrExists = errors.New("exists already")
	// ErrConflict says Update lost against another writer: read again, decide
	// again.
	ErrConflict = errors.New("changed by another writer")
	// ErrInUse says another process holds the address or the store folder.
	ErrInUse = errors.New("in use")
)

// IsBusy reports whether err, from any call of this package, is worth a retry
// with the same message.
func IsBusy(err error) bool { return errors.Is(err, ErrBusy) }

// API error codes of the server that mean "not now".
const (
	codeInsufficientResources = 10023
	codeStorageExceeded       = 10047
	codeMemoryExceeded        = 10028
	codeStoreFailed           = 10077
	codeNotEnabled            = 10039
	codeNotEnabledAccount     = 10076
	codeTooManyRequests       = 10167
	codeStreamOffline         = 10118
	codeClusterNoLeader       = 10009
	codeClusterUnavailable    = 10008
	codeStreamNotFound        = 10059
	codeDuplicateInProgress   = 10158
)

// busyCode reports whether a server's error goes away with time.
func busyCode(code int, description string) bool {
	switch code {
	case codeStoreFailed:
		// One code covers "maximum bytes exceeded" and "message too large".
		return !strings.Contains(description, "too large")
	case codeInsufficientResources, codeStorageExceeded, codeMemoryExceeded, codeNotEnabled,
		codeNotEnabledAccount, codeTooManyRequests, codeStreamOffline, codeClusterNoLeader,
		codeClusterUnavailable, codeStreamNotFound, codeDuplicateInProgress:
		return true
	}
	return false
}

// classify wraps an error of the client in ErrBusy, ErrRefused, ErrClosed,
// ErrNotFound or ErrConflict. A context's error stays visible to errors.Is.
func classify(op string, err error) error {
	if err == nil {
		return nil
	}
	kind := ErrBusy
	var api *jetstream.APIError
	switch {
	case errors.Is(err, ErrBusy), errors.Is(err, ErrRefused), errors.Is(err, ErrClosed):
		return fmt.Errorf("%s: %w", op, err)
	case errors.Is(err, jetstream.ErrKeyExists):
		kind = ErrExists
	case errors.Is(err, jetstream.ErrKeyNotFound), errors.Is(err, jetstream.ErrKeyDeleted),
		errors.Is(err, jetstream.ErrMsgNotFound), errors.Is(err, jetstream.ErrObjectNotFound),
		errors.Is(err, jetstream.ErrConsumerNotFound), errors.Is(err, jetstream.ErrNoObjectsFound), errors.Is(err, jetstream.ErrNoKeysFound):
		kind = ErrNotFound
	case errors.Is(err, nats.ErrConnectionClosed), errors.Is(err, nats.ErrConnectionDraining):
		kind = ErrClosed
	case errors.Is(err, nats.ErrMaxPayload), errors.Is(err, nats.ErrBadSubject),
		errors.Is(err, nats.ErrPermissionViolation), errors.Is(err, nats.ErrInvalidMsg),
		errors.Is(err, jetstream.ErrInvalidKey):
		kind = ErrRefused
	case errors.As(err, &api):
		switch {
		case int(api.ErrorCode) == int(jetstream.JSErrCodeStreamWrongLastSequence):
			kind = ErrConflict
		case !busyCode(int(api.ErrorCode), api.Description):
			kind = ErrRefused
		}
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("%s: %w", op, err)
	}
	return fmt.Errorf("%s: %w: %w", op, kind, err)
}
