package history

import (
	"math"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
)

// quote writes any bytes as a literal of ClickHouse's SQL. Everything but
// letters, digits and harmless signs is escaped byte by byte, so that nothing
// in a literal can end it, on any server, whatever its settings.
func quote(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 2)
	b.WriteByte('\'')
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', strings.IndexByte(" ./_-:=,@+", c) >= 0:
			b.WriteByte(c)
		default:
			const hex = "0123456789ABCDEF"
			b.WriteString(`\x`)
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	b.WriteByte('\'')
	return b.String()
}

// quoteAll writes a list of literals.
func quoteAll(texts []string) string {
	quoted := make([]string, len(texts))
	for i, s := range texts {
		quoted[i] = quote(s)
	}
	return strings.Join(quoted, ", ")
}

// number writes a number that rules compare with; they are finite and below
// 2^53.
func number(v float64) string {
	if v == math.Trunc(v) {
		return strconv.FormatInt(int64(v), 10)
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}

// millis writes a time, ms since 1970, as the columns hold it.
func millis(ms int64) string {
	return "fromUnixTimestamp64Milli(toInt64(" + strconv.FormatInt(ms, 10) + "), 'UTC')"
}

// name is a column's name in SQL. Names of the schema are plain; the quotes
// keep those that are words of SQL, such as time, out of harm's way.
func name(id event.ColumnID) string { return "`" + event.Columns[id].Name + "`" }
