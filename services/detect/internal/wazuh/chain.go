package wazuh

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
)

// maxParents bounds the rules that one refines.
const maxParents = 40

// maxChain bounds how deep rules refine one another.
const maxChain = 20

// ruleset finds rules that others refer to.
type ruleset struct {
	byID    map[int]*definition
	byGroup map[string][]*definition
	quiet   map[int][]*definition // rules of level 0 by what they refine
	chains  map[int]chain
}

// chain is the condition of a rule with those of all it refines.
type chain struct {
	clause
	err      error
	products []string
	classes  []string
	guessed  []string // fields that no column has
}

func newRuleset(list []*definition) *ruleset {
	s := &ruleset{byID: map[int]*definition{}, byGroup: map[string][]*definition{}, quiet: map[int][]*definition{}, chains: map[int]chain{}}
	for _, d := range list {
		s.byID[d.id] = d // a later one overwrites, as with overwrite="yes"
	}
	for _, d := range list {
		if s.byID[d.id] != d {
			continue
		}
		for _, g := range d.groups {
			s.byGroup[g] = append(s.byGroup[g], d)
		}
		if d.level == 0 && !d.counts() {
			for _, parent := range ids(d.all("if_sid", ",")) {
				s.quiet[parent] = append(s.quiet[parent], d)
			}
		}
	}
	return s
}

// counts says whether the rule counts the matches of others.
func (d *definition) counts() bool {
	return d.frequency > 0 || d.has("if_matched_sid") || d.has("if_matched_group")
}

// chain returns the condition of a rule that counts nothing.
func (s *ruleset) chain(d *definition, depth int) chain {
	if c, ok := s.chains[d.id]; ok {
		return c
	}
	if depth > maxChain {
		return chain{err: errors.New("rules refine one another in a circle, or too deeply")}
	}
	out := s.own(d)
	if out.err == nil {
		parents, err := s.parents(d)
		if err != nil {
			out.err = err
		} else if len(parents) > 0 {
			out = s.refine(out, parents, depth)
		}
	}
	if out.err == nil && out.families == 0 {
		out.err = errors.New("no event has all the fields that it compares")
	}
	s.chains[d.id] = out
	return out
}

func (s *ruleset) refine(own chain, parents []*definition, depth int) chain {
	var found []chain
	var missing error
	for _, p := range parents {
		c := chain{err: errors.New("counts others")}
		if !p.counts() {
			c = s.chain(p, depth+1)
		}
		if c.err != nil {
			missing = fmt.Errorf("refines rule %d, which %w", p.id, c.err)
			if len(parents) > 1 {
				own.guessed = append(own.guessed, fmt.Sprintf("without rule %d", p.id))
			}
			continue
		}
		own.guessed = append(own.guessed, c.guessed...)
		found = append(found, c)
	}
	if len(found) == 0 {
		own.err = missing
		return own
	}
	same := !slices.ContainsFunc(found, func(c chain) bool {
		return !slices.Equal(c.products, found[0].products) || !slices.Equal(c.classes, found[0].classes)
	})
	var any []clause
	for _, c := range found {
		if !same { // each alternative says itself which events it is about
			c.clause = and(c.routed(), c.clause)
		}
		any = append(any, c.clause)
	}
	if same {
		own.products, own.classes = merge(own.products, found[0].products), merge(own.classes, found[0].classes)
	}
	own.clause = and(or(any...), own.clause)
	return own
}

// routed is a chain's sources and classes as a condition.
func (c *chain) routed() clause {
	var list []clause
	in := func(path string, values []string) {
		if len(values) > 0 {
			list = append(list, clause{path + " in [" + strings.Join(values, ", ") + "]", everyFamily})
		}
	}
	var products, classes []string
	for _, p := range c.products {
		products = append(products, quote(p))
	}
	for _, name := range c.classes {
		if k, ok := event.ClassByName(name); ok {
			classes = append(classes, fmt.Sprint(k.UID))
		}
	}
	in("source", products)
	in("class_uid", classes)
	return and(list...)
}

// merge narrows a list by another one; empty is any.
func merge(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	if len(b) == 0 {
		return a
	}
	var out []string
	for _, x := range a {
		if slices.Contains(b, x) {
			out = append(out, x)
		}
	}
	return out
}

// parents are the rules that one refines.
func (s *ruleset) parents(d *definition) ([]*definition, error) {
	var out []*definition
	for _, id := range ids(d.all("if_sid", ",")) {
		p := s.byID[id]
		if p == nil {
			return nil, fmt.Errorf("refines rule %d, which is not among the files: give Wazuh's own ruleset, too", id)
		}
		out = append(out, p)
	}
	if d.has("if_group") {
		for _, g := range split(d.all("if_group", ",")) {
			out = append(out, s.group(g, d)...)
		}
		if len(out) == 0 {
			return nil, fmt.Errorf("refines the group %s, which has no rules", d.all("if_group", ","))
		}
	}
	if len(out) > maxParents {
		return nil, fmt.Errorf("refines %d rules, at most %d are supported", len(out), maxParents)
	}
	return out, nil
}

// group lists the rules of a group that do not refine others of it: what
// refines them is covered by them.
func (s *ruleset) group(name string, but *definition) []*definition {
	var out []*definition
	for _, d := range s.byGroup[name] {
		covered := d == but || d.counts()
		for _, id := range ids(d.all("if_sid", ",")) {
			if p := s.byID[id]; p != nil && p != but && slices.Contains(p.groups, name) {
				covered = true
			}
		}
		if !covered {
			out = append(out, d)
		}
	}
	return out
}

// unsupported elements, with what they ask for.
var unsupported = map[string]string{
	"list": "a list of the manager's (CDB)", "if_fts": "what was first seen by the manager", "check_diff": "the output of a command before",
	"time": "the time of day", "weekday": "the day of the week", "if_level": "the level of another rule", "compiled_rule": "code in the manager",
	"system_name": "a decoded system name", "data": "decoded data",
	"if_matched_regex": "matches of a pattern before", "geoip": "the country by the manager", "srcgeoip": "the country by the manager", "dstgeoip": "the country by the manager",
}

// ignored elements say nothing about which events match.
var ignored = map[string]bool{
	"description": true, "group": true, "mitre": true, "options": true, "info": true, "if_sid": true, "if_group": true, "if_matched_sid": true, "if_matched_group": true,
	"check_if_ignored": true, "frequency": true, "timeframe": true, "ignore": true, "label": true, "cve": true,
}

// own is the condition of a rule without those it refines.
func (s *ruleset) own(d *definition) chain {
	out := chain{clause: clause{families: everyFamily}}
	var list []clause
	for _, joined := range d.joined() {
		c, err := s.element(d, joined, &out)
		if err != nil {
			return chain{err: err}
		}
		list = append(list, c)
	}
	out.clause = and(list...)
	return out
}

// joined returns the elements that compare something, those that Wazuh reads
// as one joined.
func (d *definition) joined() []tag {
	var out []tag
	for _, t := range d.tags {
		if ignored[t.name] || strings.HasPrefix(t.name, "same_") || strings.HasPrefix(t.name, "different_") || strings.HasPrefix(t.name, "not_same_") {
			continue
		}
		if (t.name == "match" || t.name == "regex") && len(t.attrs) == 0 {
			i := slices.IndexFunc(out, func(o tag) bool { return o.name == t.name && len(o.attrs) == 0 })
			if i >= 0 {
				out[i].text += t.text
				continue
			}
		}
		out = append(out, t)
	}
	return out
}

func (s *ruleset) element(d *definition, t tag, out *chain) (clause, error) {
	if why := unsupported[t.name]; why != "" {
		return clause{}, fmt.Errorf("unsupported: %s (%s)", t.name, why)
	}
	dialect := t.attrs["type"]
	negate := t.attrs["negate"] == "yes"
	text := t.text
	if rest, ok := strings.CutPrefix(text, "!"); ok && t.name != "match" && t.name != "regex" && t.name != "field" {
		text, negate = rest, !negate
	}
	at := func(name, otherwise string) (clause, error) {
		if dialect == "" {
			dialect = otherwise
		}
		paths, guessed := place(name)
		known, isKnown := byValue(name, text)
		if guessed && !isKnown {
			out.guessed = append(out.guessed, name)
		}
		for _, p := range prefixes {
			if strings.HasPrefix(name, p.prefix) {
				out.products = merge(out.products, p.products)
			}
		}
		c, err := pattern(paths, dialect, text, negate)
		if err != nil || !isKnown {
			return c, err
		}
		if negate {
			return and(c, clause{"not (" + known.text + ")", everyFamily}), nil
		}
		return or(c, known), nil
	}
	switch t.name {
	case "match":
		return at("message", "osmatch")
	case "regex":
		return at("message", "osregex")
	case "field":
		switch name := t.attrs["name"]; name {
		case "":
			return clause{}, errors.New("field without a name")
		case "win.system.severityValue":
			out.products = merge(out.products, windows)
			return severity(text), nil
		case "integration":
			if p := integrations[strings.Trim(strings.TrimSpace(text), "^$")]; p != "" && !negate {
				out.products = merge(out.products, []string{p})
				return clause{families: everyFamily}, nil
			}
			return at(name, "osregex")
		default:
			return at(name, "osregex")
		}
	case "id":
		if slices.Contains(d.groups, "web") || slices.Contains(d.groups, "accesslog") || slices.Contains(d.groups, "web-log") {
			if c, err := at("http_status_code", "osmatch"); err == nil {
				return c, nil
			}
		}
		return at("metadata.event_code", "osmatch")
	case "status":
		return at("status_code", "osmatch")
	case "decoded_as":
		return s.decoder(strings.TrimSpace(text), out)
	case "category":
		return s.category(d, strings.TrimSpace(text), out)
	case "location":
		if strings.Trim(strings.TrimSpace(text), "^$") == "osquery" {
			out.products = merge(out.products, []string{"osquery.result"})
			return clause{families: everyFamily}, nil
		}
		return clause{}, errors.New("unsupported: location (where the agent read the log)")
	case "srcip", "dstip":
		return at(t.name, "osregex")
	case "program_name", "hostname", "user", "srcuser", "dstuser", "srcport", "dstport", "url", "protocol", "action", "extra_data":
		return at(t.name, "osmatch")
	}
	return clause{}, fmt.Errorf("unsupported: element %s", t.name)
}

func (s *ruleset) category(d *definition, name string, out *chain) (clause, error) {
	any := clause{families: everyFamily}
	switch name {
	case "windows":
		out.products = merge(out.products, windows)
		return any, nil
	case "ossec":
		// What agents report of themselves, and Windows' events among it.
		if _, known := decoders[strings.TrimSpace(d.all("decoded_as", ""))]; known || d.has("field") {
			return any, nil
		}
		return any, errors.New("unsupported: category ossec (what agents report of themselves)")
	}
	c, known := categories[name]
	if !known {
		return any, fmt.Errorf("unsupported: category %s", name)
	}
	out.classes = merge(out.classes, c)
	return any, nil
}

// decoder narrows to the programs or sources that a decoder stands for. The
// decoders of syslog are named after the program that writes it.
func (s *ruleset) decoder(name string, out *chain) (clause, error) {
	d, known := decoders[name]
	if !known {
		d.programs = []string{name}
		out.guessed = append(out.guessed, "decoder "+name)
	}
	out.products, out.classes = merge(out.products, d.products), merge(out.classes, d.classes)
	if d.when != "" {
		return clause{d.when, everyFamily}, nil
	}
	if len(d.programs) == 0 {
		return clause{families: everyFamily}, nil
	}
	var list []string
	for _, p := range d.programs {
		list = append(list, quote(p))
	}
	return clause{"ieq(actor.app_name, " + strings.Join(list, ", ") + ")", everyFamily}, nil
}

func familyNames(f event.Families) []string {
	var out []string
	for i, name := range event.FamilyNames {
		if f.Has(event.Family(i)) {
			out = append(out, name)
		}
	}
	return out
}
