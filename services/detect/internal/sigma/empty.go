package sigma

import "slices"

// empty says of values that are no text to look for what they do: with a
// modifier they fit every event, or those without the field, and seldom anybody
// means that. Name is how the file names the comparison.
func (p *problems) empty(a *atom, name string) {
	for i := range a.values {
		v := &a.values[i]
		switch {
		case a.has("exists") || len(a.mods) == 0 && a.field != "":
			// "field: ''" and "field: null" are how Sigma says that it is absent.
		case v.kind == null && a.field == "":
			p.warn(v, "%s: null is no word to look for; remove it", name)
		case v.kind == null:
			p.warn(v, "%s: null holds for events without %s, whatever the modifiers say: write the text that is meant, or %s: null", name, a.field, a.field)
		case v.text == "" && a.has("fieldref"):
			p.error(v, "%s needs the name of a field", name)
		case v.text == "" && slices.ContainsFunc(a.mods, encodes):
			p.error(v, "%s: there is nothing to encode in an empty text", name)
		case v.text == "" && a.has("re"):
			p.warn(v, "%s: an empty expression matches every event, also one without %s: write what is meant, or %s|exists: true", name, a.field, a.field)
		case !a.has("re") && !a.has("fieldref") && nothing(a, v.text):
			what := "every event that has " + a.field
			if a.field == "" {
				what = "every event"
			}
			p.warn(v, "%s: %q fits %s%s", name, v.text, what, a.insteadOfEmpty())
		}
	}
}

func encodes(mod string) bool {
	return slices.Contains([]string{"base64", "base64offset", "wide", "utf16", "utf16be"}, mod)
}

// nothing says that a comparison with a text fits whatever is there.
func nothing(a *atom, text string) bool {
	if a.field != "" && !a.has("contains") && !a.has("startswith") && !a.has("endswith") {
		return false
	}
	if text != "" && len(a.values) == 1 {
		return false // "contains: '*'" is a way to say that there is a value
	}
	pat := star().then(parsePattern(text)).then(star())
	f, _ := pat.form()
	return f == isAny
}

// insteadOfEmpty is what to do about it.
func (a *atom) insteadOfEmpty() string {
	switch {
	case len(a.values) > 1 && a.all:
		return ", so that it says nothing beside the others; remove it"
	case len(a.values) > 1:
		return ", so that the others say nothing; remove it"
	case a.field == "":
		return "; write the word that is meant"
	}
	return ": write the text that is meant, or " + a.field + "|exists: true"
}
