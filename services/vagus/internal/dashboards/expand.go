package dashboards

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Context is what the queries of a dashboard are expanded with.
type Context struct {
	From, To time.Time     // the dashboard's time range
	Interval time.Duration // what Grafana chose for one point
	Vars     map[string]Value
}

// Value is what a template variable is set to.
type Value struct {
	All    bool // the choice "All"
	Values []string
}

// conditionalAll is the macro that leaves a condition out when everything is
// chosen. The plugin expands it in the browser, before the variables.
const conditionalAll = "$__conditionalAll("

var (
	variable = regexp.MustCompile(`\$\{(\w+)(?::(\w+))?\}|\$(\w+)`)
	name     = regexp.MustCompile(`^\w+`)
)

// Expand turns a panel's SQL into what the server gets: $__conditionalAll, then
// the variables, then the other macros, in the plugin's order. It is stricter
// than Grafana: an unknown variable, format or macro is an error.
func Expand(sql string, c Context) (string, error) {
	sql, err := c.conditions(sql)
	if err != nil {
		return "", err
	}
	if sql, err = c.variables(sql); err != nil {
		return "", err
	}
	return c.macros(sql)
}

// conditions expands from the last one to the first, so that one may stand in
// another.
func (c Context) conditions(sql string) (string, error) {
	for {
		at := strings.LastIndex(sql, conditionalAll)
		if at < 0 {
			return sql, nil
		}
		args, end, err := arguments(sql, at+len(conditionalAll)-1)
		if err != nil {
			return "", fmt.Errorf("expand $__conditionalAll: %w", err)
		}
		if len(args) != 2 {
			return "", fmt.Errorf("expand $__conditionalAll: %d arguments, want a condition and a variable", len(args))
		}
		m := variable.FindStringSubmatch(args[1])
		if m == nil {
			return "", fmt.Errorf("expand $__conditionalAll: %q is no variable", args[1])
		}
		v, ok := c.Vars[m[1]+m[3]]
		if !ok {
			return "", fmt.Errorf("expand $__conditionalAll: no variable %q", m[1]+m[3])
		}
		phrase := args[0]
		if v.All || strings.Join(v.Values, ",") == "" {
			phrase = "1=1"
		}
		sql = sql[:at] + phrase + sql[end:]
	}
}

// variables replaces ${name:format}, ${name} and $name.
func (c Context) variables(sql string) (string, error) {
	var failed error
	out := variable.ReplaceAllStringFunc(sql, func(s string) string {
		m := variable.FindStringSubmatch(s)
		if strings.HasPrefix(m[3], "__") {
			return s
		}
		v, ok := c.Vars[m[1]+m[3]]
		if !ok {
			failed = fmt.Errorf("expand %s: no such variable", s)
			return s
		}
		text, err := v.format(m[2])
		if err != nil {
			failed = fmt.Errorf("expand %s: %w", s, err)
		}
		return text
	})
	return out, failed
}

// format writes a value as Grafana's format of that name.
func (v Value) format(how string) (string, error) {
	quoted := func(quote string) string {
		out := make([]string, len(v.Values))
		for i, s := range v.Values {
			out[i] = "'" + strings.ReplaceAll(s, "'", quote) + "'"
		}
		return strings.Join(out, ",")
	}
	switch how {
	case "sqlstring":
		return quoted("''"), nil
	case "singlequote":
		return quoted(`\'`), nil
	case "percentencode":
		if len(v.Values) == 1 {
			return percent(v.Values[0]), nil
		}
		return percent("{" + strings.Join(v.Values, ",") + "}"), nil
	case "csv", "raw":
		return strings.Join(v.Values, ","), nil
	}
	return "", fmt.Errorf("format %q is not one that these dashboards may use", how)
}

// percent is JavaScript's encodeURIComponent, which leaves more alone than Go
// does, with !'()* encoded too, as Grafana has it.
func percent(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// macros replaces $__name and $__name(argument, …).
func (c Context) macros(sql string) (string, error) {
	for from := 0; ; {
		i := strings.Index(sql[from:], "$__")
		if i < 0 {
			return sql, nil
		}
		at := from + i
		macro := name.FindString(sql[at+3:])
		end := at + 3 + len(macro)
		var args []string
		if end < len(sql) && sql[end] == '(' {
			var err error
			if args, end, err = arguments(sql, end); err != nil {
				return "", fmt.Errorf("expand $__%s: %w", macro, err)
			}
		}
		text, err := c.macro(macro, args)
		if err != nil {
			return "", fmt.Errorf("expand $__%s: %w", macro, err)
		}
		sql = sql[:at] + text + sql[end:]
		from = at + len(text)
	}
}

var plainColumn = regexp.MustCompile(`^[\w.` + "`" + `]+$`)

func (c Context) macro(macro string, args []string) (string, error) {
	want := map[string]int{"timeFilter": 1, "timeFilter_ms": 1, "dateFilter": 1, "dateTimeFilter": 2, "timeInterval": 1, "timeInterval_ms": 1}[macro]
	if len(args) != want {
		return "", fmt.Errorf("%d arguments, want %d", len(args), want)
	}
	for i, a := range args {
		args[i] = strings.TrimSpace(a)
		// Versions of the plugin before 4.20 end an argument list at the first ')'.
		if !plainColumn.MatchString(args[i]) {
			return "", fmt.Errorf("argument %q is not a plain column", args[i])
		}
	}
	seconds := func(t time.Time) string { return fmt.Sprintf("toDateTime(%d)", t.Unix()) }
	millis := func(t time.Time) string { return fmt.Sprintf("fromUnixTimestamp64Milli(%d)", t.UnixMilli()) }
	date := func(t time.Time) string { return t.Format("toDate('2006-01-02')") }
	between := func(column string, of func(time.Time) string) string {
		return column + " >= " + of(c.From) + " AND " + column + " <= " + of(c.To)
	}
	switch macro {
	case "fromTime":
		return seconds(c.From), nil
	case "toTime":
		return seconds(c.To), nil
	case "fromTime_ms":
		return millis(c.From), nil
	case "toTime_ms":
		return millis(c.To), nil
	case "timeFilter":
		return between(args[0], seconds), nil
	case "timeFilter_ms":
		return between(args[0], millis), nil
	case "dateFilter":
		return between(args[0], date), nil
	case "dateTimeFilter":
		return "(" + between(args[0], date) + ") AND (" + between(args[1], seconds) + ")", nil
	case "interval_s":
		return fmt.Sprint(max(int(c.Interval.Seconds()), 1)), nil
	case "timeInterval":
		return fmt.Sprintf("toStartOfInterval(toDateTime(%s), INTERVAL %d second)", args[0], max(int(c.Interval.Seconds()), 1)), nil
	case "timeInterval_ms":
		return fmt.Sprintf("toStartOfInterval(toDateTime64(%s, 3), INTERVAL %d millisecond)", args[0], max(c.Interval.Milliseconds(), 1)), nil
	}
	return "", fmt.Errorf("no such macro")
}

// arguments splits the list that opens at sql[open] at its outer commas and
// returns the position behind it.
func arguments(sql string, open int) (args []string, end int, err error) {
	depth, from := 0, open+1
	for i := open; i < len(sql); i++ {
		switch sql[i] {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 1 {
				args = append(args, sql[from:i])
				from = i + 1
			}
		}
		if depth == 0 {
			return slices.Clip(append(args, sql[from:i])), i + 1, nil
		}
	}
	return nil, 0, fmt.Errorf("'(' is not closed")
}
