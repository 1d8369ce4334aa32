//go:build linux || darwin

package chhttp

import (
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

// Limits of multipart requests.
const (
	maxExternal       = 64 << 20 // bytes of all external tables of a request
	maxExternalTables = 32
)

// externalTable is data sent along with a query, to be read as a table.
type externalTable struct{ name, structure, format, data string }

// readForm takes a multipart body apart: the query, and external tables.
func (q *request) readForm() error {
	media, attrs, err := mime.ParseMediaType(q.r.Header.Get("Content-Type"))
	if err != nil || media != "multipart/form-data" {
		return nil
	}
	form, left := multipart.NewReader(q.body, attrs["boundary"]), int64(maxExternal)
	fields := map[string]string{}
	for {
		part, err := form.NextPart()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return bodyError(err)
		}
		b, err := io.ReadAll(io.LimitReader(part, left+1))
		if err != nil {
			return bodyError(err)
		}
		if left -= int64(len(b)); left < 0 || len(q.external) > maxExternalTables {
			return exceptionf(223, "QUERY_IS_TOO_LARGE", "external tables are larger than %d bytes", maxExternal)
		}
		if part.FileName() == "" && strings.Contains(part.Header.Get("Content-Disposition"), "filename") || part.FileName() != "" {
			q.external = append(q.external, externalTable{name: part.FormName(), data: string(b)})
			continue
		}
		fields[part.FormName()] = string(b)
	}
	arg := func(name string) string { return first(q.args.raw[name], fields[name]) }
	for i, t := range q.external {
		t.structure, t.format = arg(t.name+"_structure"), first(arg(t.name+"_format"), "TabSeparated")
		if t.structure == "" || !identifier(t.name) {
			return exceptionf(codeBadArgument, "BAD_ARGUMENTS", "External table %s: a structure is needed", printable(t.name))
		}
		q.external[i] = t
	}
	q.args.query += fields["query"]
	q.body = strings.NewReader("")
	return nil
}

// loadExternal makes temporary tables, which end with the session.
func (q *request) loadExternal() error {
	for _, t := range q.external {
		if err := q.conn.Exec(fmt.Sprintf("CREATE TEMPORARY TABLE %s (%s) ENGINE = Memory", quoteName(t.name), t.structure)); err != nil {
			return err
		}
		ins, err := q.conn.Insert("INSERT INTO "+quoteName(t.name), t.format)
		if err != nil {
			return err
		}
		if _, err := io.WriteString(ins, t.data); err != nil {
			ins.Cancel()
			return err
		}
		if _, err := ins.Done(); err != nil {
			return err
		}
	}
	return nil
}
