package match

import (
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// compiled is a rule with its exceptions ready to be evaluated.
type compiled struct {
	rule       *rule.Rule
	exceptions []exception
}

type exception struct {
	when    evaluator
	expires int64 // ms since 1970; 0: never
}

// evaluator is an expression in its fastest exact form; the zero evaluator
// holds always.
type evaluator struct {
	pred predicate  // nil: the virtual machine decides
	expr *lang.Expr // for the virtual machine
}

func (x *fields) evaluator(e *lang.Expr) evaluator {
	if e.Lowered {
		return evaluator{pred: x.compile(e.Root), expr: e}
	}
	return evaluator{expr: e}
}

// eval decides for the scope's row. A failing evaluation (only the virtual
// machine can fail) is an error.
func (v *evaluator) eval(s *scope) (bool, error) {
	if v.pred != nil {
		return v.pred(s), nil
	}
	if v.expr == nil {
		return true, nil
	}
	if s.env == nil {
		s.env = map[string]any{}
	}
	FillEnv(s.env, s.block, s.row, v.expr)
	return s.machine.Eval(v.expr, s.env)
}

func (x *fields) rule(r *rule.Rule) compiled {
	c := compiled{rule: r}
	for _, e := range r.Exceptions {
		ex := exception{when: x.evaluator(e.When)}
		if !e.Expires.IsZero() {
			ex.expires = e.Expires.UnixMilli()
		}
		c.exceptions = append(c.exceptions, ex)
	}
	return c
}

// excepted says that an exception takes the row out of the rule.
func (c *compiled) excepted(s *scope) (bool, error) {
	for i := range c.exceptions {
		x := &c.exceptions[i]
		if x.expires != 0 && s.time() >= x.expires {
			continue
		}
		if ok, err := x.when.eval(s); ok || err != nil {
			return true, err
		}
	}
	return false, nil
}

func (s *scope) time() int64 {
	if c := s.cols[event.Time]; c != nil {
		return c.Int(s.row)
	}
	return time.Time{}.UnixMilli()
}

// strategy is how a rule is evaluated, for people.
func strategy(e *lang.Expr) string {
	if e.Lowered {
		return "columns"
	}
	return "virtual machine"
}

// Plan explains what the compiler made of a rule.
type Plan struct {
	Rule      string   `json:"rule"`
	Families  []string `json:"families"`
	Classes   []string `json:"classes,omitempty"`
	Products  []string `json:"products,omitempty"`
	Literals  []string `json:"literals,omitempty"` // a match holds one of these
	Cost      float64  `json:"cost,omitempty"`     // estimated share of events that are candidates
	Always    bool     `json:"always,omitempty"`   // evaluated for every event of the source
	Evaluated string   `json:"evaluated"`          // columns or virtual machine
	Tree      string   `json:"tree"`
}

// Explain returns the plan of a rule.
func Explain(r *rule.Rule) Plan {
	p := Plan{Rule: r.ID, Families: strings.Split(lang.FamilyNames(r.Source.Families), ", "), Products: r.Source.Products,
		Evaluated: strategy(r.When), Tree: r.When.Root.String()}
	for _, uid := range r.Source.Classes {
		if c, ok := event.ClassByUID(uid); ok {
			p.Classes = append(p.Classes, c.Name)
		}
	}
	w, ok := r.When.Witness()
	p.Always, p.Cost = !ok, w.Cost
	for _, l := range w.Literals {
		p.Literals = append(p.Literals, l.String())
	}
	return p
}
