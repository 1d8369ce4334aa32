//go:build linux || darwin

package chdb

import (
	"io"
	"runtime"
	"unsafe"
)

// Stream is a running SELECT whose result comes in pieces.
type Stream struct {
	conn  *Conn
	ptr   unsafe.Pointer
	chunk unsafe.Pointer
	done  bool
	stats Stats
}

// Stream starts a statement. The session is busy until Close.
func (c *Conn) Stream(sql, format string, params ...Param) (*Stream, error) {
	a := newArgs(sql, format, params)
	defer a.release()
	res := c.lib.streamQuery(c.session(), a.sql, a.sqlLen, a.format, a.formatLen, a.names, a.nameLens, a.values, a.valueLens, a.n)
	if res == nil {
		return nil, Error("the engine returned no result")
	}
	if msg := c.lib.resultError(res); msg != nil {
		err := Error(goString(msg))
		c.lib.resultFree(res)
		return nil, err
	}
	return &Stream{conn: c, ptr: res}, nil
}

// Next returns the next piece, valid until the following call, or io.EOF.
func (s *Stream) Next() ([]byte, error) {
	s.freeChunk()
	if s.done {
		return nil, io.EOF
	}
	l := s.conn.lib
	s.chunk = l.fetch(s.conn.session(), s.ptr)
	if s.chunk == nil {
		s.done = true
		return nil, Error("the engine returned no result")
	}
	if msg := l.resultError(s.chunk); msg != nil {
		s.done = true
		return nil, Error(goString(msg))
	}
	s.stats.add(l, s.chunk)
	n := l.resultLength(s.chunk)
	if n == 0 {
		s.done = true
		return nil, io.EOF
	}
	return unsafe.Slice((*byte)(l.resultBuffer(s.chunk)), n), nil
}

// Stats counts what the pieces fetched so far have cost.
func (s *Stream) Stats() Stats { return s.stats }

// Close ends the statement, cancelling what has not been fetched.
func (s *Stream) Close() {
	if s.ptr == nil {
		return
	}
	s.freeChunk()
	if !s.done {
		s.conn.lib.cancelQuery(s.conn.session(), s.ptr)
	}
	s.conn.lib.resultFree(s.ptr)
	s.ptr, s.done = nil, true
}

func (s *Stream) freeChunk() {
	if s.chunk != nil {
		s.conn.lib.resultFree(s.chunk)
		s.chunk = nil
	}
}

// Insert is a running INSERT that takes data in pieces.
type Insert struct {
	conn *Conn
	ptr  unsafe.Pointer
}

// Insert starts `INSERT INTO t (…)` without a FORMAT clause; the data that
// follows is in the given format. The session is busy until Done or Cancel.
func (c *Conn) Insert(sql, format string, params ...Param) (*Insert, error) {
	a := newArgs(sql, format, params)
	defer a.release()
	p := c.lib.insert(c.session(), a.sql, a.sqlLen, a.format, a.formatLen, a.names, a.nameLens, a.values, a.valueLens, a.n)
	if p == nil {
		return nil, Error("the engine returned no insert stream")
	}
	if msg := c.lib.insertError(p); msg != nil {
		err := Error(goString(msg))
		c.lib.insertFree(p)
		return nil, err
	}
	return &Insert{conn: c, ptr: p}, nil
}

// Write appends data; it blocks while the engine is behind.
func (i *Insert) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	var pin runtime.Pinner
	pin.Pin(&b[0])
	defer pin.Unpin()
	if rc := i.conn.lib.appendData(i.ptr, unsafe.Pointer(&b[0]), uintptr(len(b))); rc != 0 {
		return 0, i.err()
	}
	return len(b), nil
}

// Done ends the data and returns when it is stored.
func (i *Insert) Done() (Stats, error) {
	res := i.conn.lib.insertDone(i.ptr)
	defer i.free()
	if res == nil {
		return Stats{}, i.err()
	}
	defer i.conn.lib.resultFree(res)
	if msg := i.conn.lib.resultError(res); msg != nil {
		return Stats{}, Error(goString(msg))
	}
	var st Stats
	st.add(i.conn.lib, res)
	return st, nil
}

// Cancel gives the INSERT up. Blocks that the engine has already written stay.
func (i *Insert) Cancel() {
	i.conn.lib.insertCancel(i.ptr)
	i.free()
}

func (i *Insert) free() { i.conn.lib.insertFree(i.ptr); i.ptr = nil }

func (i *Insert) err() error {
	if msg := i.conn.lib.insertError(i.ptr); msg != nil {
		return Error(goString(msg))
	}
	return Error("the engine refused the data without a reason")
}
