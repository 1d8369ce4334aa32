//go:build linux || darwin

// Package chhttp serves ClickHouse's HTTP interface from sessions of the
// in-process engine: parameters, settings, formats, compression, accounts,
// exact error codes and streamed results. The engine itself checks neither
// passwords nor roles, so this package does.
package chhttp

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chdb"
	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/sqltext"
)

// Limits on what one request may bring.
const (
	maxSQL      = 8 << 20 // bytes of SQL text, the data of an INSERT not counted
	maxParams   = 1000    // parameters and settings of one request
	maxQueries  = 100     // statements running at once; more wait
	firstSniff  = 64 << 10
	replyBuffer = 256 << 10 // of a result held back, so that early errors get a status
	maxHeldBack = 64 << 20  // of a result with wait_end_of_query=1
)

// User is an account.
type User struct {
	Name, Password string
	ReadOnly       bool
}

// Options says what a Handler serves.
type Options struct {
	// Connect opens a session of the engine; it is called for every request.
	Connect func(args ...string) (*chdb.Conn, error)
	Users   []User
	Logger  *slog.Logger
}

// Handler is the HTTP interface.
type Handler struct {
	opts    Options
	version string
	users   accounts
	slots   chan struct{}
	seq     atomic.Uint64
	last    atomic.Int64 // unix nanoseconds of the latest statement's end
	active  atomic.Int64

	killMu sync.Mutex
	killer *chdb.Conn
}

// New asks the engine for its version and returns the handler.
func New(opts Options) (*Handler, error) {
	killer, err := opts.Connect()
	if err != nil {
		return nil, err
	}
	b, _, err := killer.Query("SELECT version()", "TSVRaw")
	if err != nil {
		killer.Close()
		return nil, fmt.Errorf("ask clickhouse engine for its version: %w", err)
	}
	h := &Handler{
		opts: opts, version: strings.TrimSpace(string(b)), users: newAccounts(opts.Users),
		slots: make(chan struct{}, maxQueries), killer: killer,
	}
	h.last.Store(time.Now().UnixNano())
	return h, nil
}

// Version is the engine's version.
func (h *Handler) Version() string { return h.version }

// Idle is how long no statement has run; zero while one runs.
func (h *Handler) Idle() time.Duration {
	if h.active.Load() > 0 {
		return 0
	}
	return time.Since(time.Unix(0, h.last.Load()))
}

// Close ends the handler's own session.
func (h *Handler) Close() {
	h.killMu.Lock()
	defer h.killMu.Unlock()
	if h.killer != nil {
		h.killer.Close()
		h.killer = nil
	}
}

// Admin runs a statement of the product's own.
func (h *Handler) Admin(sql string) error {
	h.killMu.Lock()
	defer h.killMu.Unlock()
	if h.killer == nil {
		return errors.New("handler is closed")
	}
	return h.killer.Exec(sql)
}

// KillAll cancels all running statements.
func (h *Handler) KillAll() {
	_ = h.Admin("KILL QUERY WHERE Settings['log_comment'] LIKE 'vagus:%' ASYNC")
}

// ServeHTTP answers one request.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	hd := w.Header()
	hd.Set("X-ClickHouse-Server-Display-Name", "vagus")
	hd.Set("X-ClickHouse-Timezone", "UTC")
	switch r.URL.Path {
	case "/ping", "/replicas_status":
		hd.Set("Content-Type", "text/html; charset=UTF-8")
		_, _ = io.WriteString(w, "Ok.\n")
		return
	case "/", "/query", "":
	default:
		http.Error(w, "There is no handle "+r.URL.Path, http.StatusNotFound)
		return
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut:
	case http.MethodOptions:
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	if (r.Method == http.MethodGet || r.Method == http.MethodHead) && r.URL.RawQuery == "" {
		hd.Set("Content-Type", "text/html; charset=UTF-8")
		_, _ = io.WriteString(w, "Ok.\n")
		return
	}
	q := &request{h: h, w: w, r: r, id: r.URL.Query().Get("query_id"), began: time.Now()}
	if q.id == "" {
		q.id = newID()
	}
	hd.Set("X-ClickHouse-Query-Id", q.id)
	if err := q.serve(); err != nil {
		q.fail(err)
	}
}

// request is one request on its way.
type request struct {
	h     *Handler
	w     http.ResponseWriter
	r     *http.Request
	id    string
	began time.Time

	user     User
	args     arguments
	body     io.Reader
	st       sqltext.Statement
	data     io.Reader // of an INSERT
	external []externalTable
	conn     *chdb.Conn
	reply    *reply
	readOnly bool
}

// serve runs the request; an error that it returns has not been told to the client.
func (q *request) serve() error {
	var err error
	if q.user, err = q.h.users.authenticate(q.r); err != nil {
		return err
	}
	// As with a server, what comes by GET may not change anything.
	q.readOnly = q.user.ReadOnly || q.r.Method == http.MethodGet || q.r.Method == http.MethodHead
	if q.args, err = parseArguments(q.r); err != nil {
		return err
	}
	if q.body, err = decodeBody(q.r, q.args.flag("decompress")); err != nil {
		return err
	}
	if err := q.readForm(); err != nil {
		return err
	}
	if err := q.readStatement(); err != nil {
		return err
	}
	if q.st.Kind == sqltext.Empty {
		return Exception{Code: codeSyntax, Text: "Code: 62. DB::Exception: Empty query. (SYNTAX_ERROR)"}
	}
	if err := q.allowed(); err != nil {
		return err
	}
	q.reply = newReply(q)
	if isHandshake(q) {
		return q.reply.finish(handshake(q.h.version), chdb.Stats{})
	}
	ctx := q.r.Context()
	select {
	case q.h.slots <- struct{}{}:
		defer func() { <-q.h.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	q.h.active.Add(1)
	defer func() {
		q.h.last.Store(time.Now().UnixNano())
		q.h.active.Add(-1)
	}()
	mark := "vagus:" + strconv.FormatUint(q.h.seq.Add(1), 10)
	if err := q.connect(mark); err != nil {
		return err
	}
	defer q.conn.Close()
	stop := context.AfterFunc(ctx, func() {
		// The client has gone, or the server is stopping.
		_ = q.h.Admin("KILL QUERY WHERE Settings['log_comment'] = '" + mark + "' ASYNC")
	})
	defer stop()
	if err := q.loadExternal(); err != nil {
		return err
	}
	return q.run()
}

// connect opens the session and gives it the request's settings and database.
func (q *request) connect(mark string) error {
	args := []string{"--log_comment=" + mark}
	var err error
	if q.conn, err = q.h.opts.Connect(args...); err != nil {
		return err
	}
	setup := q.args.setup
	if q.readOnly && q.args.settings["readonly"] == "" {
		setup = append(setup[:len(setup):len(setup)], "SET readonly = 2")
	}
	for _, sql := range setup {
		if err := q.conn.Exec(sql); err != nil {
			q.conn.Close()
			return err
		}
	}
	return nil
}

// readStatement finds the statement in the URL and the body.
func (q *request) readStatement() error {
	fromURL := q.args.query
	if strings.TrimSpace(fromURL) != "" {
		st, err := parse(fromURL)
		if err == nil && st.Kind == sqltext.Insert {
			q.st, q.data = st, io.MultiReader(strings.NewReader(fromURL[st.Data:]), q.body)
			return nil
		}
	}
	text := []byte(fromURL)
	for size := firstSniff; ; size *= 4 {
		whole, err := readUpTo(q.body, &text, min(size, maxSQL))
		if err != nil {
			return err
		}
		st, perr := parse(string(text))
		switch {
		case perr == nil && st.Kind == sqltext.Insert && (whole || st.Format != ""):
			q.st, q.data = st, io.MultiReader(strings.NewReader(string(text[st.Data:])), q.body)
			return nil
		case whole:
			q.st = st
			return perr
		case size >= maxSQL:
			return exceptionf(223, "QUERY_IS_TOO_LARGE", "the text of the query is longer than %d bytes", maxSQL)
		}
	}
}

// readUpTo fills buf up to size bytes; whole reports that the source has ended.
func readUpTo(r io.Reader, buf *[]byte, size int) (whole bool, err error) {
	b := *buf
	defer func() { *buf = b }()
	for len(b) < size {
		if cap(b)-len(b) < 4096 {
			b = append(b, make([]byte, max(4096, len(b)))...)[:len(b)]
		}
		n, err := r.Read(b[len(b):min(cap(b), size)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			return true, nil
		}
		if err != nil {
			return false, bodyError(err)
		}
	}
	return false, nil
}

func parse(text string) (sqltext.Statement, error) {
	st, err := sqltext.Parse(text)
	if err != nil {
		return st, exceptionf(codeSyntax, "SYNTAX_ERROR", "Syntax error: %v", err)
	}
	return st, nil
}

// allowed refuses what the account, the method or the interface does not permit.
func (q *request) allowed() error {
	if q.st.Files {
		return exceptionf(48, "NOT_IMPLEMENTED", "INTO OUTFILE and FROM INFILE are not allowed over HTTP")
	}
	// The engine guards its other ways to the host with grants, not this one.
	if q.st.Calls["file"] || q.st.Calls["catboostevaluate"] {
		return exceptionf(codeAccess, "ACCESS_DENIED", "%s: Not enough privileges: files of the host are out of reach", q.user.Name)
	}
	if q.readOnly && !q.st.Kind.ReadOnly() {
		return exceptionf(codeReadOnly, "READONLY", "%s: Cannot execute query in readonly mode", q.user.Name)
	}
	if q.readOnly {
		if v := q.args.settings["readonly"]; v != "" && v != "1" && v != "2" {
			return exceptionf(codeReadOnly, "READONLY", "Cannot modify 'readonly' setting in readonly mode")
		}
	}
	return nil
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}
