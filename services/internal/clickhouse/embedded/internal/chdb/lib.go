//go:build linux || darwin

// Package chdb binds the C interface of ClickHouse's in-process engine
// (libchdb) without cgo. It knows nothing of HTTP, users or supervision.
//
// The library is loaded once per process and cannot be unloaded; a process has
// one data directory for its whole life. Every Conn runs one statement at a
// time, several Conns run in parallel.
package chdb

import (
	"errors"
	"fmt"
	"runtime"
	"unsafe"

	"github.com/ebitengine/purego"
)

// Library is the loaded engine. It is safe for concurrent use.
type Library struct {
	setSignalHandlers func(enabled int32)
	version           func() string
	connect           func(argc int32, argv unsafe.Pointer) unsafe.Pointer
	closeConn         func(conn unsafe.Pointer)

	query       func(conn unsafe.Pointer, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	streamQuery func(conn unsafe.Pointer, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	fetch       func(conn, stream unsafe.Pointer) unsafe.Pointer
	cancelQuery func(conn, stream unsafe.Pointer)

	insert       func(conn unsafe.Pointer, sql unsafe.Pointer, sqlLen uintptr, format unsafe.Pointer, formatLen uintptr, names, nameLens, values, valueLens unsafe.Pointer, n uintptr) unsafe.Pointer
	appendData   func(stream, data unsafe.Pointer, n uintptr) int32
	insertDone   func(stream unsafe.Pointer) unsafe.Pointer
	insertCancel func(stream unsafe.Pointer)
	insertError  func(stream unsafe.Pointer) unsafe.Pointer
	insertFree   func(stream unsafe.Pointer)

	resultBuffer       func(res unsafe.Pointer) unsafe.Pointer
	resultLength       func(res unsafe.Pointer) uintptr
	resultError        func(res unsafe.Pointer) unsafe.Pointer
	resultRowsRead     func(res unsafe.Pointer) uint64
	resultBytesRead    func(res unsafe.Pointer) uint64
	resultRowsWritten  func(res unsafe.Pointer) uint64
	resultBytesWritten func(res unsafe.Pointer) uint64
	resultFree         func(res unsafe.Pointer)
}

// Load opens the shared library at path and binds the functions it needs. It
// fails when the file cannot be loaded or lacks a function, which means that
// it is another version than the pinned one.
func Load(path string) (_ *Library, err error) {
	handle, err := purego.Dlopen(path, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("load clickhouse engine %s: %w", path, err)
	}
	l := &Library{}
	for name, fn := range map[string]any{
		"chdb_set_signal_handlers_enabled": &l.setSignalHandlers,
		"chdb_version":                     &l.version,
		"chdb_connect":                     &l.connect,
		"chdb_close_conn":                  &l.closeConn,
		"chdb_query_with_params_n":         &l.query,
		"chdb_stream_query_with_params_n":  &l.streamQuery,
		"chdb_stream_fetch_result":         &l.fetch,
		"chdb_stream_cancel_query":         &l.cancelQuery,
		"chdb_stream_insert_with_params_n": &l.insert,
		"chdb_stream_append":               &l.appendData,
		"chdb_stream_done":                 &l.insertDone,
		"chdb_stream_cancel_insert":        &l.insertCancel,
		"chdb_stream_insert_error":         &l.insertError,
		"chdb_destroy_insert_stream":       &l.insertFree,
		"chdb_result_buffer":               &l.resultBuffer,
		"chdb_result_length":               &l.resultLength,
		"chdb_result_error":                &l.resultError,
		"chdb_result_storage_rows_read":    &l.resultRowsRead,
		"chdb_result_storage_bytes_read":   &l.resultBytesRead,
		"chdb_result_rows_written":         &l.resultRowsWritten,
		"chdb_result_bytes_written":        &l.resultBytesWritten,
		"chdb_destroy_query_result":        &l.resultFree,
	} {
		sym, err := purego.Dlsym(handle, name)
		if err != nil {
			return nil, fmt.Errorf("load clickhouse engine %s: function %s is missing (another version of the library?): %w", path, name, err)
		}
		purego.RegisterFunc(fn, sym)
	}
	// The Go runtime owns the signals of this process.
	l.setSignalHandlers(0)
	return l, nil
}

// Version is the engine's own version text.
func (l *Library) Version() string { return l.version() }

// Conn is one session of the engine. It runs one statement at a time and is
// not safe for concurrent use.
type Conn struct {
	lib *Library
	ptr unsafe.Pointer // chdb_connection*, a pointer to the session
}

// Connect opens a session. The first one starts the engine with args such as
// `--path=DIR`; later ones must name the same path. Arguments of the form
// `--setting=value` are session settings.
func (l *Library) Connect(args ...string) (*Conn, error) {
	all := append([]string{"clickhouse"}, args...)
	bufs := make([][]byte, len(all))
	ptrs := make([]unsafe.Pointer, len(all)+1)
	var pin runtime.Pinner
	defer pin.Unpin()
	for i, a := range all {
		bufs[i] = append([]byte(a), 0)
		pin.Pin(&bufs[i][0])
		ptrs[i] = unsafe.Pointer(&bufs[i][0])
	}
	pin.Pin(&ptrs[0])
	p := l.connect(int32(len(all)), unsafe.Pointer(&ptrs[0]))
	if p == nil {
		return nil, errors.New("open clickhouse engine session: refused by the engine (its own log says why)")
	}
	return &Conn{lib: l, ptr: p}, nil
}

// Close ends the session. Closing the last one of a process stops the engine.
func (c *Conn) Close() {
	if c.ptr != nil {
		c.lib.closeConn(c.ptr)
		c.ptr = nil
	}
}

// session is the pointer the query functions take.
func (c *Conn) session() unsafe.Pointer { return *(*unsafe.Pointer)(c.ptr) }

// Stats counts what a statement read and wrote.
type Stats struct {
	ReadRows, ReadBytes, WrittenRows, WrittenBytes uint64
}

func (s *Stats) add(l *Library, res unsafe.Pointer) {
	s.ReadRows += l.resultRowsRead(res)
	s.ReadBytes += l.resultBytesRead(res)
	s.WrittenRows += l.resultRowsWritten(res)
	s.WrittenBytes += l.resultBytesWritten(res)
}

// Param is one `{name:Type}` parameter.
type Param struct{ Name, Value string }

// Error is an error text of the engine, as it wrote it.
type Error string

// Error returns the engine's own text, usually `Code: N. DB::Exception: …`.
func (e Error) Error() string { return string(e) }

// Exec runs a statement and drops its result.
func (c *Conn) Exec(sql string, params ...Param) error {
	_, _, err := c.Query(sql, "Null", params...)
	return err
}

// Query runs a statement and returns its whole result in the given format.
func (c *Conn) Query(sql, format string, params ...Param) ([]byte, Stats, error) {
	a := newArgs(sql, format, params)
	defer a.release()
	res := c.lib.query(c.session(), a.sql, a.sqlLen, a.format, a.formatLen, a.names, a.nameLens, a.values, a.valueLens, a.n)
	if res == nil {
		return nil, Stats{}, Error("the engine returned no result")
	}
	defer c.lib.resultFree(res)
	if msg := c.lib.resultError(res); msg != nil {
		return nil, Stats{}, Error(goString(msg))
	}
	var st Stats
	st.add(c.lib, res)
	return goBytes(c.lib.resultBuffer(res), c.lib.resultLength(res)), st, nil
}

// args holds the C view of a statement's texts, pinned until release.
type args struct {
	pin                                runtime.Pinner
	sql, format                        unsafe.Pointer
	sqlLen, formatLen                  uintptr
	names, nameLens, values, valueLens unsafe.Pointer
	n                                  uintptr
}

func newArgs(sql, format string, params []Param) *args {
	a := &args{sqlLen: uintptr(len(sql)), formatLen: uintptr(len(format)), n: uintptr(len(params))}
	a.sql, a.format = a.cstr(sql), a.cstr(format)
	if len(params) == 0 {
		return a
	}
	names, values := make([]unsafe.Pointer, len(params)), make([]unsafe.Pointer, len(params))
	nameLens, valueLens := make([]uintptr, len(params)), make([]uintptr, len(params))
	for i, p := range params {
		names[i], nameLens[i] = a.cstr(p.Name), uintptr(len(p.Name))
		values[i], valueLens[i] = a.cstr(p.Value), uintptr(len(p.Value))
	}
	a.pin.Pin(&names[0])
	a.pin.Pin(&values[0])
	a.pin.Pin(&nameLens[0])
	a.pin.Pin(&valueLens[0])
	a.names, a.values = unsafe.Pointer(&names[0]), unsafe.Pointer(&values[0])
	a.nameLens, a.valueLens = unsafe.Pointer(&nameLens[0]), unsafe.Pointer(&valueLens[0])
	return a
}

// cstr pins a NUL-terminated copy: some paths of the engine read past the
// given length.
func (a *args) cstr(s string) unsafe.Pointer {
	b := make([]byte, len(s)+1)
	copy(b, s)
	a.pin.Pin(&b[0])
	return unsafe.Pointer(&b[0])
}

func (a *args) release() { a.pin.Unpin() }

func goString(p unsafe.Pointer) string {
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

func goBytes(p unsafe.Pointer, n uintptr) []byte {
	if p == nil || n == 0 {
		return nil
	}
	return append([]byte(nil), unsafe.Slice((*byte)(p), n)...)
}
