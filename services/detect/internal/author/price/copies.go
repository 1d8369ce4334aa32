package price

import (
	"fmt"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// Copies makes n rules of each, the first as it is, the others with letters of
// their literals turned, so that they look for something else of the same kind:
// how the cost grows with the number of rules. Names of programs stay, since
// real rules share them. Conditions of the virtual machine are only repeated.
func Copies(rules []*rule.Rule, n int) []*rule.Rule {
	out := rules[:len(rules):len(rules)]
	for k := 1; k < n; k++ {
		for _, r := range rules {
			own := *r
			own.ID = fmt.Sprintf("%s-%d", r.ID, k)
			if r.When != nil && r.When.Lowered {
				own.When = &lang.Expr{Source: r.When.Source, Lowered: true, Columns: r.When.Columns, Keys: r.When.Keys,
					AnyText: r.When.AnyText, Root: turned(r.When.Root, k)}
			}
			out = append(out, &own)
		}
	}
	return out
}

// turned copies a tree with its literals turned by k.
func turned(n *lang.Node, k int) *lang.Node {
	out := *n
	out.Kids = nil
	for _, kid := range n.Kids {
		out.Kids = append(out.Kids, turned(kid, k))
	}
	if n.Op < lang.Eq || n.Op > lang.Suffix || n.Col == event.MetadataEventCode || n.Col == event.ProcessPath {
		return &out
	}
	out.Lits = nil
	for _, l := range n.Lits {
		b := []byte(l)
		for i := len(b) / 2; len(b) > 4 && i < len(b); i++ {
			if b[i] >= 'a' && b[i] <= 'z' {
				b[i] = 'a' + (b[i]-'a'+byte(k*7+i))%26
			}
		}
		out.Lits = append(out.Lits, string(b))
	}
	return &out
}
