package history

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Query says which part of history is read.
type Query struct {
	// From and To bound the event time; To is excluded.
	From, To time.Time
	// Sets are the rules whose matches are wanted.
	Sets []*Set
	// Columns are read besides those that the rules need.
	Columns []event.ColumnID
	// Newest gives the newest events first.
	Newest bool
	// NoPushdown lets ClickHouse send every event of the rules' sources: slow,
	// and never another result.
	NoPushdown bool
}

// table is what is read of one family.
type table struct {
	family event.Family
	where  string // "" reads every event
	// narrow says that the rules' conditions are part of where.
	narrow  bool
	columns []event.ColumnID
}

func (t *table) name() string { return "`events_" + t.family.String() + "`" }

// tables derives what is read from the rules. A family without rules is left
// out, as is one whose events no rule can match.
func (q *Query) tables() []table {
	var out []table
	for i := range event.FamilyNames {
		f := event.Family(i)
		var rules []*rule.Rule
		for _, s := range q.Sets {
			for _, r := range s.matched {
				if r.Source.Families.Has(f) {
					rules = append(rules, r)
				}
			}
		}
		if len(rules) == 0 {
			continue
		}
		t := table{family: f, columns: q.columns(f)}
		c := q.condition(rules, f)
		if c.sql == "" && !c.always {
			continue
		}
		parts := []cond{routing(rules, func(r *rule.Rule) (cond, bool) { return classes(r), len(r.Source.Classes) > 0 })}
		parts = append(parts, routing(rules, func(r *rule.Rule) (cond, bool) { return products(r), len(r.Source.Products) > 0 }), c)
		t.where, t.narrow = every(parts).sql, c.sql != ""
		out = append(out, t)
	}
	return out
}

// condition lets through what one of the rules may match.
func (q *Query) condition(rules []*rule.Rule, f event.Family) cond {
	if q.NoPushdown {
		return always
	}
	kids := make([]cond, len(rules))
	for i, r := range rules {
		kids[i] = necessary(r.When.Root, f)
		if len(rules) > 1 && (kids[i].sql != "" || kids[i].always) {
			kids[i] = every([]cond{classes(r), products(r), kids[i]})
		}
	}
	if c := either(kids); len(c.sql) <= maxSQL {
		return c
	}
	return always
}

// routing is what all rules have in common: the union of a part of their
// sources, which serves the primary key. A rule without it wants all.
func routing(rules []*rule.Rule, part func(*rule.Rule) (cond, bool)) cond {
	var kids []cond
	for _, r := range rules {
		c, limited := part(r)
		if !limited {
			return always
		}
		if !slices.Contains(kids, c) {
			kids = append(kids, c)
		}
	}
	if c := either(kids); len(c.sql) <= maxAtom {
		return c
	}
	return always
}

func classes(r *rule.Rule) cond {
	if len(r.Source.Classes) == 0 {
		return always
	}
	uids := make([]string, len(r.Source.Classes))
	for i, c := range r.Source.Classes {
		uids[i] = strconv.FormatUint(uint64(c), 10)
	}
	return cond{sql: "(" + name(event.ClassUID) + " IN (" + strings.Join(uids, ", ") + "))"}
}

func products(r *rule.Rule) cond {
	if len(r.Source.Products) == 0 {
		return always
	}
	return cond{sql: "(" + name(event.Source) + " IN (" + quoteAll(r.Source.Products) + "))"}
}

// columns lists what matching and the signals of the rules read, of what the
// family has.
func (q *Query) columns(f event.Family) []event.ColumnID {
	ids := []event.ColumnID{event.EventUID, event.Time, event.ReceivedAt, event.Source, event.ClassUID}
	ids = append(ids, q.Columns...)
	for _, s := range q.Sets {
		for _, r := range s.matched {
			if !r.Source.Families.Has(f) {
				continue
			}
			ids = append(ids, r.When.Columns...)
			for _, e := range r.Exceptions {
				ids = append(ids, e.When.Columns...)
			}
			for _, feed := range s.feeds.Of(r) {
				ids = append(ids, feed.Shown...)
				for _, fields := range [][]lang.Field{feed.Group, feed.Value} {
					for _, f := range fields {
						ids = append(ids, f.Col)
					}
				}
			}
		}
	}
	slices.Sort(ids)
	return slices.DeleteFunc(slices.Compact(ids), func(id event.ColumnID) bool { return !event.Columns[id].Families.Has(f) })
}

// limits of a statement: sorting spills to disk, and a server that is asked for
// too much says so rather than taking the memory of the hub.
const settings = " SETTINGS max_bytes_before_external_sort = 268435456, max_block_size = 16384"

// sql is the statement for one span of time.
func (t *table) sql(s Span, newest bool) string {
	names := make([]string, len(t.columns))
	for i, id := range t.columns {
		names[i] = name(id)
	}
	var b strings.Builder
	b.WriteString("SELECT " + strings.Join(names, ", ") + " FROM " + t.name() + " WHERE " + s.sql())
	if t.where != "" {
		b.WriteString(" AND " + t.where)
	}
	order := ""
	if newest {
		order = " DESC"
	}
	b.WriteString(" ORDER BY " + name(event.Time) + order + ", " + name(event.EventUID) + order + settings)
	return b.String()
}
