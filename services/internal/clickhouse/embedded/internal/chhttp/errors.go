package chhttp

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// Codes of ClickHouse that this package itself raises.
const (
	codeSyntax      = 62
	codeReadOnly    = 164
	codeBadSetting  = 115
	codeAuth        = 516
	codeAccess      = 497
	codeBadArgument = 36
)

// Exception is an error as ClickHouse tells it.
type Exception struct {
	Code int
	Text string // with its `Code: N. DB::Exception: ` in front
	// noCredentials marks a request that named nobody.
	noCredentials bool
}

// Error returns the text.
func (e Exception) Error() string { return e.Text }

func exceptionf(code int, name, format string, args ...any) Exception {
	return Exception{Code: code, Text: fmt.Sprintf("Code: %d. DB::Exception: %s. (%s)", code, fmt.Sprintf(format, args...), name)}
}

// asException reads the code out of an engine's text.
func asException(err error) Exception {
	var ex Exception
	if errors.As(err, &ex) {
		return ex
	}
	text := strings.TrimSpace(err.Error())
	if rest, ok := strings.CutPrefix(text, "Code: "); ok {
		if n, _, ok := strings.Cut(rest, "."); ok {
			if code, err := strconv.Atoi(n); err == nil {
				// The engine wraps some of its errors in themselves.
				if prefix := "Code: " + n + ". DB::Exception: "; strings.HasPrefix(text, prefix+prefix) {
					text = strings.TrimPrefix(text, prefix)
				}
				return Exception{Code: code, Text: text}
			}
		}
	}
	return Exception{Code: 1002, Text: "Code: 1002. DB::Exception: " + text + " (UNKNOWN_EXCEPTION)"}
}

func (e Exception) codeText() string { return strconv.Itoa(e.Code) }

// text adds the version, as a server does.
func (e Exception) text(version string) string {
	if strings.Contains(e.Text, " (version ") {
		return e.Text
	}
	return e.Text + " (version " + version + " (official build))"
}

// status is the HTTP status a server answers with for the code.
func (e Exception) status() int {
	switch e.Code {
	case 194: // REQUIRED_PASSWORD
		return http.StatusUnauthorized
	case 192, 193, codeAuth: // UNKNOWN_USER, WRONG_PASSWORD, AUTHENTICATION_FAILED
		if e.noCredentials {
			return http.StatusUnauthorized
		}
		return http.StatusForbidden
	case 6, 25, 26, 27, 38, 41, 53, 62, 72, 117, 158, 167, 168, 456, 457:
		return http.StatusBadRequest // what cannot be parsed
	case 46, 47, 50, 56, 60, 63, 73, 78, 81, 115, 336:
		return http.StatusNotFound // what is unknown
	case 223: // QUERY_IS_TOO_LARGE
		return http.StatusRequestEntityTooLarge
	case 48: // NOT_IMPLEMENTED
		return http.StatusNotImplemented
	case 76, 209, 439: // CANNOT_OPEN_FILE, SOCKET_TIMEOUT, CANNOT_SCHEDULE_TASK
		return http.StatusServiceUnavailable
	case 159: // TIMEOUT_EXCEEDED
		return http.StatusRequestTimeout
	case codeAccess:
		return http.StatusForbidden
	}
	return http.StatusInternalServerError
}

// bodyError tells a body that cannot be read from one that ended early.
func bodyError(err error) error {
	var ex Exception
	if errors.As(err, &ex) {
		return err
	}
	return exceptionf(codeBadArgument, "BAD_ARGUMENTS", "Cannot read the request body: %v", err)
}
