package clickhouse

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"

	chgo "github.com/ClickHouse/clickhouse-go/v2"
)

// Codes of ClickHouse that callers act on.
const (
	CodeUnknownIdentifier    = 47
	CodeTableExists          = 57
	CodeUnknownTable         = 60
	CodeSyntaxError          = 62
	CodeUnknownDatabase      = 81
	CodeTimeoutExceeded      = 159
	CodeReadOnly             = 164
	CodeTooManyQueries       = 202
	CodeNotEnoughSpace       = 243
	CodeMemoryLimitExceeded  = 241
	CodeTooManyParts         = 252
	CodeQueryWasCancelled    = 394
	CodeAccessDenied         = 497
	CodeAuthenticationFailed = 516
)

// retryable are the codes that mean the server could not just now.
var retryable = map[int]bool{
	3: true, 74: true, 75: true, // UNEXPECTED_END_OF_FILE, CANNOT_READ_FROM/WRITE_TO_FILE_DESCRIPTOR
	CodeTimeoutExceeded: true, 160: true, // TOO_SLOW
	CodeTooManyQueries: true, 203: true, 209: true, 210: true, 225: true, // NO_FREE_CONNECTION, SOCKET_TIMEOUT, NETWORK_ERROR, NO_ZOOKEEPER
	236: true, 242: true, // ABORTED, TABLE_IS_READ_ONLY
	CodeMemoryLimitExceeded: true, CodeNotEnoughSpace: true, CodeTooManyParts: true,
	CodeQueryWasCancelled: true, 279: true, 285: true, 286: true, 319: true, // ALL_CONNECTION_TRIES_FAILED, TOO_FEW_LIVE_REPLICAS, …, UNKNOWN_STATUS_OF_INSERT
	439: true, 999: true, // CANNOT_SCHEDULE_TASK, KEEPER_EXCEPTION
}

// Code is ClickHouse's error code, zero when err is none of its errors.
func Code(err error) int {
	var ex *chgo.Exception
	if errors.As(err, &ex) {
		return int(ex.Code)
	}
	return 0
}

// IsRetryable reports whether the same statement may well succeed later: the
// network failed, the server was starting, stopping, busy or short of memory
// or disk. It is false when the caller's own context ended, and for everything
// that says the statement or its data are wrong. An insert must be retried with
// the token it was first sent with.
func IsRetryable(err error) bool {
	if err == nil || errors.Is(err, context.Canceled) {
		return false
	}
	if code := Code(err); code != 0 {
		return retryable[code]
	}
	var status *chgo.HTTPError
	if errors.As(err, &status) {
		return status.StatusCode >= http.StatusInternalServerError || status.StatusCode == http.StatusTooManyRequests
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) ||
		errors.Is(err, chgo.ErrAcquireConnTimeout) || errors.Is(err, net.ErrClosed)
}
