package rule

import (
	"fmt"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/subjects"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

// Routing makes a source of the names of classes, families and products, as
// the file of a rule would; empty lists mean any.
func Routing(classes, families, products []string) (Source, error) {
	var s Source
	var derived event.Families
	var names []string
	for _, c := range event.Classes {
		names = append(names, c.Name)
	}
	for _, name := range classes {
		c, ok := event.ClassByName(name)
		if !ok {
			return s, fmt.Errorf("unknown class %s%s", name, lang.DidYouMean(name, names))
		}
		s.Classes = append(s.Classes, c.UID)
		derived |= ClassFamilies(c)
	}
	for _, name := range families {
		f, ok := event.FamilyByName(name)
		if !ok {
			return s, fmt.Errorf("unknown family %s%s (one of %s)", name, lang.DidYouMean(name, event.FamilyNames[:]), strings.Join(event.FamilyNames[:], ", "))
		}
		s.Families |= 1 << f
	}
	for _, name := range products {
		if err := subjects.Check(name); err != nil {
			return s, fmt.Errorf("source: %w", err)
		}
		s.Products = append(s.Products, name)
	}
	if s.Families == 0 {
		s.Families = derived
	}
	if s.Families == 0 {
		s.Families = allFamilies
	}
	return s, nil
}
