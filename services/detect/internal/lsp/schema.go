package lsp

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/vagus-hub/vagus/schemas/jsonschema"
)

// node is the part of JSON Schema that the rule's schema uses.
type node struct {
	Ref                  string           `json:"$ref"`
	Description          string           `json:"description"`
	Enum                 []string         `json:"enum"`
	Default              any              `json:"default"`
	Properties           map[string]*node `json:"properties"`
	AdditionalProperties json.RawMessage  `json:"additionalProperties"`
	Items                *node            `json:"items"`
	OneOf                []*node          `json:"oneOf"`
	AnyOf                []*node          `json:"anyOf"`
	Required             []string         `json:"required"`
	Defs                 map[string]*node `json:"$defs"`
}

var schema = sync.OnceValue(func() *node {
	root := &node{}
	if err := json.Unmarshal(jsonschema.Rule, root); err != nil {
		return &node{} // cannot be: a test reads it
	}
	return root
})

// resolve follows references; def is the name of the last one.
func (n *node) resolve() (out *node, def string) {
	for range 8 {
		name, ok := strings.CutPrefix(n.Ref, "#/$defs/")
		if !ok {
			break
		}
		next := schema().Defs[name]
		if next == nil {
			break
		}
		if own := *next; n.Description != "" && own.Description != n.Description {
			own.Description = n.Description
			next = &own
		}
		n, def = next, name
	}
	return n, def
}

// alternatives are a node and what it may be instead.
func (n *node) alternatives() []*node {
	out := []*node{n}
	for _, o := range slices.Concat(n.OneOf, n.AnyOf) {
		r, _ := o.resolve()
		out = append(out, r)
	}
	return out
}

// find is the schema of a path such as tests[0].events[1].after; nil where
// anything goes. def names the definition that it is.
func find(path string) (n *node, def string) {
	n = schema()
	if path == "" {
		return n, ""
	}
	for _, part := range strings.Split(path, ".") {
		key, items, _ := strings.Cut(part, "[")
		if n, def = n.property(key); n == nil {
			return nil, ""
		}
		for range strings.Count(items, "]") {
			if n, def = n.item(); n == nil {
				return nil, ""
			}
		}
	}
	return n, def
}

func (n *node) property(key string) (*node, string) {
	for _, a := range n.alternatives() {
		if p := a.Properties[key]; p != nil {
			return p.resolve()
		}
	}
	for _, a := range n.alternatives() {
		if len(a.AdditionalProperties) > 0 && a.AdditionalProperties[0] == '{' {
			p := &node{}
			if json.Unmarshal(a.AdditionalProperties, p) == nil {
				return p.resolve()
			}
		}
	}
	return nil, ""
}

func (n *node) item() (*node, string) {
	for _, a := range n.alternatives() {
		if a.Items != nil {
			return a.Items.resolve()
		}
	}
	return nil, ""
}

// keys lists the keys of a mapping.
func (n *node) keys() []string {
	seen := map[string]bool{}
	for _, a := range n.alternatives() {
		for k := range a.Properties {
			seen[k] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

// values lists the values that a text may have, and the definition of them.
func (n *node) values(def string) ([]string, string) {
	if len(n.Enum) > 0 {
		return n.Enum, def
	}
	for _, o := range slices.Concat(n.OneOf, n.AnyOf) {
		if r, name := o.resolve(); len(r.Enum) > 0 {
			return r.Enum, name
		}
	}
	if n.Items != nil {
		if r, name := n.Items.resolve(); len(r.Enum) > 0 {
			return r.Enum, name
		}
	}
	return nil, def
}
