package detect

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/history"
	"github.com/vagus-hub/vagus/services/detect/internal/mute"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
	"github.com/vagus-hub/vagus/services/detect/internal/silence"
	"github.com/vagus-hub/vagus/services/detect/internal/taxonomy"
)

// mapped lists the sources that there are mappings of; none if the program has
// no mappings.
func (o *CommandOptions) mapped() ([]string, error) {
	if o.Feeds == nil {
		return nil, nil
	}
	feeds, err := o.Feeds()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, f := range feeds {
		if !slices.Contains(out, f.Source) {
			out = append(out, f.Source)
		}
	}
	return out, nil
}

// checkSources refuses the name of a source that no mapping is for and that no
// stored event has: asking for it finds nothing, which looks like an answer.
func (o *CommandOptions) checkSources(ctx context.Context, db history.Database, names []string) error {
	known, err := o.mapped()
	if err != nil {
		return err
	}
	missing := func(s string) bool { return !slices.Contains(known, s) }
	if !slices.ContainsFunc(names, missing) {
		return nil
	}
	// A hub may have mappings that this program does not know.
	stored, err := history.Sources(ctx, db)
	if err != nil {
		return err
	}
	known = append(known, stored...)
	if i := slices.IndexFunc(names, missing); i >= 0 {
		return fmt.Errorf("--source %s: no mapping is for this source and no stored event is of it%s (`vagus sources list` names them)", names[i], nearest(names[i], known))
	}
	return nil
}

// checkNames refuses sources and tags that no rule can have. Rules are those
// that are listed: they may name what nothing else knows.
func (f filter) checkNames(rules []*rule.Rule, feeds []Feed) error {
	known := event.FamilyNames[:]
	for _, x := range feeds {
		known = append(known, x.Source)
	}
	for _, c := range event.Classes {
		known = append(known, c.Name)
	}
	tags := taxonomy.All()
	for _, r := range rules {
		known, tags = append(known, r.Source.Products...), append(tags, r.Tags...)
	}
	for _, s := range f.sources {
		if len(feeds) > 0 && !slices.Contains(known, s) {
			return fmt.Errorf("list: --source %s is no source, class or family%s", s, nearest(s, known))
		}
	}
	for _, t := range f.tags {
		if !slices.ContainsFunc(tags, func(have string) bool { return have == t || strings.HasPrefix(have, t+".") }) {
			return fmt.Errorf("list: --tag %s is no tag and not the beginning of one up to a dot%s", t, nearest(t, append(tags, "atlas", "attack", "owasp", "nist")))
		}
	}
	return nil
}

// unknownRules says of matchers that name a rule which the hub does not run: such
// a silence is allowed, since the rule may come, and mutes nothing until then.
func (o *CommandOptions) unknownRules(ctx context.Context, matchers []mute.Matcher) (notes []string, err error) {
	var ids []string
	for _, m := range matchers {
		if m.Name != "rule" || m.Op != "=" || o.Content == nil {
			continue
		}
		if ids == nil {
			rules, err := (&author{CommandOptions: *o}).live(ctx)()
			if err != nil {
				return nil, err
			}
			ids = []string{costRule, silence.RuleID}
			for _, r := range rules {
				ids = append(ids, r.ID)
			}
		}
		if !slices.Contains(ids, m.Value) {
			notes = append(notes, fmt.Sprintf("the hub runs no rule %s%s", m.Value, nearest(m.Value, ids)))
		}
	}
	return notes, nil
}
