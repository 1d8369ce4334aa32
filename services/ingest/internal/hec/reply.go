package hec

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/vagus-hub/vagus/services/ingest/internal/httpin"
	"github.com/vagus-hub/vagus/services/ingest/internal/intake"
)

// reply is one of Splunk's answers.
type reply struct {
	status int
	code   int
	text   string
}

// The replies, with Splunk's codes and texts: clients compare them.
var (
	replySuccess   = &reply{http.StatusOK, 0, "Success"}
	replyNoToken   = &reply{http.StatusUnauthorized, 2, "Token is required"}
	replyAuth      = &reply{http.StatusUnauthorized, 3, "Invalid authorization"}
	replyToken     = &reply{http.StatusForbidden, 4, "Invalid token"}
	replyNoData    = &reply{http.StatusBadRequest, 5, "No data"}
	replyFormat    = &reply{http.StatusBadRequest, 6, "Invalid data format"}
	replyIndex     = &reply{http.StatusBadRequest, 7, "Incorrect index"}
	replyInternal  = &reply{http.StatusInternalServerError, 8, "Internal server error"}
	replyBusy      = &reply{http.StatusServiceUnavailable, 9, "Server is busy"}
	replyNoChannel = &reply{http.StatusBadRequest, 10, "Data channel is missing"}
	replyChannel   = &reply{http.StatusBadRequest, 11, "Invalid data channel"}
	replyNoEvent   = &reply{http.StatusBadRequest, 12, "Event field is required"}
	replyBlank     = &reply{http.StatusBadRequest, 13, "Event field cannot be blank"}
	replyNoAck     = &reply{http.StatusBadRequest, 14, "ACK is disabled"}
	replyFields    = &reply{http.StatusBadRequest, 15, "Error in handling indexed fields"}
	replyQuery     = &reply{http.StatusBadRequest, 16, "Query string authorization is not enabled"}
	replyHealthy   = &reply{http.StatusOK, 17, "HEC is healthy"}
	replyUnhealthy = &reply{http.StatusServiceUnavailable, 18, "HEC is unhealthy, queues are full"}
	replyNotFound  = &reply{http.StatusNotFound, 404, "The requested URL was not found on this server."}
	replyMethod    = &reply{http.StatusMethodNotAllowed, 404, "The requested URL was not found on this server."}
)

// none stands for "no event number" and "no acknowledgement id".
const none = -1

// write sends a reply, with the number of the invalid event or the id of the
// acknowledgement if they are not none.
func (r *reply) write(w http.ResponseWriter, number int, ack int64) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=UTF-8")
	h.Set("X-Content-Type-Options", "nosniff")
	switch r.status {
	case http.StatusServiceUnavailable:
		h.Set("Retry-After", "2")
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", "Splunk")
	case http.StatusRequestEntityTooLarge, http.StatusRequestTimeout:
		h.Set("Connection", "close") // the rest of the body is not worth reading
	}
	out := append(make([]byte, 0, 96), `{"text":`...)
	out = strconv.AppendQuote(out, r.text)
	out = strconv.AppendInt(append(out, `,"code":`...), int64(r.code), 10)
	if number >= 0 {
		out = strconv.AppendInt(append(out, `,"invalid-event-number":`...), int64(number), 10)
	}
	if ack >= 0 {
		out = strconv.AppendInt(append(out, `,"ackId":`...), ack, 10)
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(append(out, '}')) // the client went away
}

// bodyReply is the answer to a body that could not be read.
func bodyReply(err error) *reply {
	if errors.Is(err, intake.ErrBusy) {
		return replyBusy
	}
	return &reply{httpin.Status(err), replyFormat.code, replyFormat.text + ": " + err.Error()}
}
