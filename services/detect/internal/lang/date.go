package lang

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/expr-lang/expr/ast"
)

// dateParts are what date_part takes out of a time.
var dateParts = []string{"minute", "hour", "day", "week", "month", "year"}

// datePart is date_part(x, part): a part of a time, 0 if x has none. x is ms
// since 1970, of which the part is that in UTC, or a text that begins with a
// date as ISO 8601 and RFC 3339 write it, of which it is the part that is
// written. Weeks are those of ISO 8601.
func datePart(args ...any) (any, error) {
	part, _ := args[1].(string)
	switch x := args[0].(type) {
	case int:
		if x == 0 {
			return 0, nil
		}
		return partOf(time.UnixMilli(int64(x)).UTC(), part), nil
	case string:
		layout := "2006-01-02T15:04"
		if part != "hour" && part != "minute" {
			layout = time.DateOnly
		}
		if len(x) < len(layout) {
			return 0, nil
		}
		t, err := time.Parse(layout, strings.Replace(x[:len(layout)], " ", "T", 1))
		if err != nil {
			return 0, nil
		}
		return partOf(t, part), nil
	}
	return 0, fmt.Errorf("date_part: argument is %T, want a time or a text", args[0])
}

func partOf(t time.Time, part string) int {
	switch part {
	case "minute":
		return t.Minute()
	case "hour":
		return t.Hour()
	case "day":
		return t.Day()
	case "month":
		return int(t.Month())
	case "year":
		return t.Year()
	}
	_, week := t.ISOWeek()
	return week
}

func (c *checker) dateCall(n *ast.CallNode) {
	if len(n.Arguments) != 2 {
		c.report(n, `date_part takes a time and a part, such as date_part(time, "hour")`)
		return
	}
	s, ok := n.Arguments[1].(*ast.StringNode)
	switch {
	case !ok:
		c.report(n.Arguments[1], "the part of date_part must be a constant text")
	case !slices.Contains(dateParts, s.Value):
		c.report(n.Arguments[1], "date_part knows no %s%s (one of %s)", s.Value, DidYouMean(s.Value, dateParts), strings.Join(dateParts, ", "))
	}
}
