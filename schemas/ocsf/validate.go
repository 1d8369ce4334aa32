package ocsf

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/mail"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Problem is something in a document that OCSF does not allow.
type Problem struct {
	Path    string `json:"path"` // dotted, with [n] for elements
	Message string `json:"message"`
}

// String is path and message.
func (p Problem) String() string { return p.Path + ": " + p.Message }

// maxProblems bounds what Validate finds in one document, maxDepth how deep it
// looks.
const (
	maxProblems = 100
	maxDepth    = 32
)

// Validate checks an event, in order of path: its class is known, every
// attribute belongs to it or to a profile that it declares, what is required is
// there, types and enumerated values are right, the constraints of classes and
// objects hold, and category_uid and type_uid follow from class and activity.
func (s *Schema) Validate(doc []byte) []Problem {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var root map[string]any
	if err := d.Decode(&root); err != nil {
		return []Problem{{"", "not a JSON object: " + err.Error()}}
	}
	return s.validate(root)
}

func (s *Schema) validate(root map[string]any) []Problem {
	v := validation{schema: s}
	uid, ok := integer(root["class_uid"])
	class := s.classes[uid]
	if !ok || class == nil {
		return []Problem{{"class_uid", fmt.Sprintf("%v is no known class", root["class_uid"])}}
	}
	profiles := map[string]bool{}
	if meta, ok := root["metadata"].(map[string]any); ok {
		list, _ := meta["profiles"].([]any)
		for i, p := range list {
			name, _ := p.(string)
			if profiles[name] = true; !slices.Contains(class.Profiles, name) {
				v.add(fmt.Sprintf("metadata.profiles[%d]", i), "%q is no profile of %s", name, class.Name)
			}
		}
	}
	v.entity("", class, root, profiles, true, 0)
	if n, _ := integer(root["category_uid"]); n != class.Category {
		v.add("category_uid", "%d, but %s is of category %d", n, class.Name, class.Category)
	}
	activity, _ := integer(root["activity_id"])
	if n, _ := integer(root["type_uid"]); n != uid*100+activity {
		v.add("type_uid", "%d, want class_uid * 100 + activity_id = %d", n, uid*100+activity)
	}
	return v.problems
}

type validation struct {
	schema   *Schema
	problems []Problem
}

func (v *validation) add(path, format string, args ...any) {
	if len(v.problems) < maxProblems {
		v.problems = append(v.problems, Problem{path, fmt.Sprintf(format, args...)})
	}
}

// entity checks a class, of which profiles bring attributes, or an object.
func (v *validation) entity(path string, e *entity, doc map[string]any, profiles map[string]bool, class bool, depth int) {
	if depth > maxDepth {
		v.add(path, "more than %d levels deep", maxDepth)
		return
	}
	at := func(name string) string {
		if path == "" {
			return name
		}
		return path + "." + name
	}
	if len(e.Attributes) == 0 {
		return // the free-form object
	}
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		a, ok := e.Attributes[name]
		if !ok {
			v.add(at(name), "no attribute of it")
			continue
		}
		if p := e.profile(name); class && p != "" && !profiles[p] {
			v.add(at(name), "needs the profile %s in metadata.profiles", p)
		}
		v.attribute(at(name), a, doc[name], depth)
	}
	for _, name := range slices.Sorted(maps.Keys(e.Attributes)) {
		if _, ok := doc[name]; ok || !e.Attributes[name].required {
			continue
		}
		if p := e.profile(name); class && p != "" && !profiles[p] {
			continue
		}
		v.add(at(name), "is required and not there")
	}
	count := func(names []string) int {
		n := 0
		for _, name := range names {
			if _, ok := doc[name]; ok {
				n++
			}
		}
		return n
	}
	if len(e.AtLeastOne) > 0 && count(e.AtLeastOne) == 0 {
		v.add(path, "needs at least one of %s", strings.Join(e.AtLeastOne, ", "))
	}
	if len(e.JustOne) > 0 && count(e.JustOne) != 1 {
		v.add(path, "needs just one of %s", strings.Join(e.JustOne, ", "))
	}
}

func (v *validation) attribute(path string, a attribute, value any, depth int) {
	if a.array {
		list, ok := value.([]any)
		if !ok {
			v.add(path, "is no array")
			return
		}
		for i, one := range list {
			v.value(path+"["+strconv.Itoa(i)+"]", a, one, depth)
		}
		return
	}
	v.value(path, a, value, depth)
}

func (v *validation) value(path string, a attribute, value any, depth int) {
	if a.base == object {
		doc, ok := value.(map[string]any)
		if !ok {
			v.add(path, "is no object")
			return
		}
		if e := v.schema.objects[a.kind]; e != nil {
			v.entity(path, e, doc, nil, false, depth+1)
		}
		return
	}
	if why := a.wrong(value); why != "" {
		v.add(path, "%s", why)
	}
}

// wrong says why a value is none of a plain attribute; "" if it is one.
func (a attribute) wrong(value any) string {
	text, isText := value.(string)
	switch a.base {
	case "string_t":
		if !isText {
			return fmt.Sprintf("%v is no string", value)
		}
	case "boolean_t":
		if _, ok := value.(bool); !ok {
			return fmt.Sprintf("%v is no boolean", value)
		}
	case "integer_t", "long_t":
		n, ok := integer(value)
		if !ok {
			return fmt.Sprintf("%v is no integer", value)
		}
		if a.kind == "port_t" && (n < 0 || n > 65535) {
			return fmt.Sprintf("%d is no port", n)
		}
		text = strconv.FormatInt(n, 10)
	case "float_t":
		if _, ok := number(value); !ok {
			return fmt.Sprintf("%v is no number", value)
		}
	}
	if len(a.enum) > 0 && !a.enum[text] {
		return fmt.Sprintf("%q is none of its values", text)
	}
	switch a.kind {
	case "ip_t":
		if _, err := netip.ParseAddr(text); err != nil {
			return fmt.Sprintf("%q is no address", text)
		}
	case "email_t":
		if m, err := mail.ParseAddress(text); err != nil || m.Address != text {
			return fmt.Sprintf("%q is no mail address", text)
		}
	case "uuid_t":
		if len(text) != 36 || strings.Trim(text, "0123456789abcdefABCDEF-") != "" {
			return fmt.Sprintf("%q is no UUID", text)
		}
	case "mac_t":
		if len(text) != 17 {
			return fmt.Sprintf("%q is no MAC address", text)
		}
	}
	return ""
}

func integer(v any) (int64, bool) {
	switch n := v.(type) {
	case int64:
		return n, true
	case json.Number:
		i, err := n.Int64()
		return i, err == nil
	}
	return 0, false
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, true
	case int64:
		return float64(n), true
	case json.Number:
		f, err := n.Float64()
		return f, err == nil
	}
	return 0, false
}
