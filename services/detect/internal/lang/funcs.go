package lang

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/expr-lang/expr"

	"github.com/vagus-hub/vagus/schemas/event"
)

// textFunc is a function (x, v…) that holds if the relation holds between x
// and one of the values (all of them if every is set). x may be a text or a
// list of texts; a value may be a text or a list of texts.
type textFunc struct {
	name  string
	op    Op
	fold  bool
	every bool
	rel   func(x, v string) bool
}

var textFuncs = []textFunc{
	{"ieq", Eq, true, false, func(x, v string) bool { return x == v }},
	{"iin", Eq, true, false, func(x, v string) bool { return x == v }},
	{"icontains", Contains, true, false, strings.Contains},
	{"icontains_all", Contains, true, true, strings.Contains},
	{"istartsWith", Prefix, true, false, strings.HasPrefix},
	{"iendsWith", Suffix, true, false, strings.HasSuffix},
	{"contains_any", Contains, false, false, strings.Contains},
	{"contains_all", Contains, false, true, strings.Contains},
	{"startsWith_any", Prefix, false, false, strings.HasPrefix},
	{"endsWith_any", Suffix, false, false, strings.HasSuffix},
	{"wildcard", Wildcard, false, false, wildcard},
	{"iwildcard", Wildcard, true, false, wildcard},
}

func wildcard(x, v string) bool { return ParsePattern(v).Match(x) }

func textFuncByName(name string) (textFunc, bool) {
	for _, f := range textFuncs {
		if f.name == name {
			return f, true
		}
	}
	return textFunc{}, false
}

// FunctionNames lists the functions of rules, without expr's own.
func FunctionNames() []string { return functionNames() }

// functionNames lists what rules may call besides the builtins that stay
// enabled; it serves suggestions.
func functionNames() []string {
	out := []string{"exists", "cidr", "text", "date_part"}
	for _, f := range textFuncs {
		out = append(out, f.name)
	}
	return out
}

// disabledBuiltins would make the result depend on the clock, or build big
// values out of small ones.
var disabledBuiltins = []string{"now", "date", "duration", "timezone", "repeat", "toJSON", "fromJSON", "toBase64", "fromBase64", "get",
	"reduce", "groupBy", "sortBy", "flatten", "concat"}

func functionOptions() []expr.Option {
	var out []expr.Option
	for _, f := range textFuncs {
		out = append(out, expr.Function(f.name, f.call, new(func(string, ...any) bool), new(func([]string, ...any) bool)))
	}
	for _, name := range disabledBuiltins {
		out = append(out, expr.DisableBuiltin(name))
	}
	return append(out,
		expr.Function("exists", existsFunc, new(func(any) bool)),
		expr.Function("cidr", cidrFunc, new(func(string, ...string) bool)),
		expr.Function("text", textOf, new(func(int) string), new(func(float64) string), new(func(bool) string)),
		expr.Function("date_part", datePart, new(func(int, string) int), new(func(string, string) int)),
	)
}

func (f textFunc) call(args ...any) (any, error) {
	var xs []string
	switch x := args[0].(type) {
	case string:
		xs = []string{x}
	case []string:
		xs = x
	default:
		return false, fmt.Errorf("%s: first argument is %T, want a text or a list of texts", f.name, args[0])
	}
	vs, err := texts(args[1:])
	if err != nil {
		return false, fmt.Errorf("%s: %w", f.name, err)
	}
	some := func(v string) bool {
		if f.fold {
			v = Fold(v)
		}
		for _, x := range xs {
			if f.fold {
				x = Fold(x)
			}
			if f.rel(x, v) {
				return true
			}
		}
		return false
	}
	for _, v := range vs {
		if some(v) != f.every {
			return !f.every, nil
		}
	}
	return f.every, nil
}

// texts flattens texts and lists of texts.
func texts(args []any) ([]string, error) {
	var out []string
	for _, a := range args {
		switch a := a.(type) {
		case string:
			out = append(out, a)
		case []string:
			out = append(out, a...)
		case []any:
			more, err := texts(a)
			if err != nil {
				return nil, err
			}
			out = append(out, more...)
		default:
			return nil, fmt.Errorf("value is %T, want a text or a list of texts", a)
		}
	}
	return out, nil
}

func existsFunc(args ...any) (any, error) {
	switch x := args[0].(type) {
	case string:
		return x != "", nil
	case int:
		return x != 0, nil
	case float64:
		return x != 0, nil
	case bool:
		return x, nil
	case []string:
		return len(x) > 0, nil
	case map[string]float64:
		return len(x) > 0, nil
	}
	return args[0] != nil, nil
}

func cidrFunc(args ...any) (any, error) {
	s, _ := args[0].(string)
	addr, err := netip.ParseAddr(s)
	if err != nil {
		return false, nil
	}
	for _, a := range args[1:] {
		s, _ := a.(string)
		net, err := netip.ParsePrefix(s)
		if err != nil {
			return false, fmt.Errorf("cidr: %w", err)
		}
		if net.Contains(addr.Unmap()) {
			return true, nil
		}
	}
	return false, nil
}

// textOf is a number or truth value as text; "" for zero, which is how absence
// reads.
func textOf(args ...any) (any, error) {
	switch x := args[0].(type) {
	case int:
		return string(AppendNumber(nil, float64(x), int64(x), event.KindU64)), nil
	case float64:
		return string(AppendNumber(nil, x, 0, event.KindF64)), nil
	case bool:
		if x {
			return "true", nil
		}
		return "", nil
	}
	return "", fmt.Errorf("text: argument is %T, want a number or a truth value", args[0])
}

// AppendNumber appends what text(x) gives for a value of a kind.
func AppendNumber(dst []byte, f float64, i int64, k event.Kind) []byte {
	switch {
	case k == event.KindF32 || k == event.KindF64:
		if f == 0 {
			return dst
		}
		return strconv.AppendFloat(dst, f, 'g', -1, 64)
	case i == 0:
		return dst
	case k == event.KindBool:
		return append(dst, "true"...)
	}
	return strconv.AppendInt(dst, i, 10)
}
