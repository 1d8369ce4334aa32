// Package ocsf writes events of the schema as OCSF JSON and checks OCSF JSON
// against the facts of OCSF's own schema: which attributes a class has, which
// are required, their types and enumerated values.
package ocsf

import (
	_ "embed" // facts.json
	"encoding/json"
	"fmt"
	"strings"
	"sync"
)

// Facts of OCSF under the Apache License 2.0; scripts/ocsf/facts.py writes them.
//
//go:embed facts.json
var factsJSON []byte

// Schema is what is known of one version of OCSF. It is read-only.
type Schema struct {
	Version string
	types   map[string]string
	classes map[int64]*entity
	objects map[string]*entity
}

// entity is a class or an object.
type entity struct {
	Name       string               `json:"name"`
	Category   int64                `json:"category"`
	Profiles   []string             `json:"profiles"`
	Attributes map[string]attribute `json:"attributes"`
	AtLeastOne []string             `json:"at_least_one"`
	JustOne    []string             `json:"just_one"`
}

type attribute struct {
	kind     string // type, or name of the object
	base     string // string_t, integer_t, long_t, float_t, boolean_t, json_t; object: "object"
	required bool
	array    bool
	enum     map[string]bool
}

// UnmarshalJSON reads [type, requirement, array, enum].
func (a *attribute) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	var requirement string
	var enum []string
	for i, into := range []any{&a.kind, &requirement, &a.array, &enum} {
		if i < len(parts) {
			if err := json.Unmarshal(parts[i], into); err != nil {
				return err
			}
		}
	}
	a.required = requirement == "r"
	for _, v := range enum {
		if a.enum == nil {
			a.enum = map[string]bool{}
		}
		a.enum[v] = true
	}
	return nil
}

// Load returns the schema that events are written in; it is read once.
func Load() (*Schema, error) { return load() }

var load = sync.OnceValues(func() (*Schema, error) {
	var raw struct {
		Version string             `json:"version"`
		Types   map[string]string  `json:"types"`
		Classes map[int64]*entity  `json:"classes"`
		Objects map[string]*entity `json:"objects"`
	}
	if err := json.Unmarshal(factsJSON, &raw); err != nil {
		return nil, fmt.Errorf("read the facts of OCSF: %w", err)
	}
	s := &Schema{Version: raw.Version, types: raw.Types, classes: raw.Classes, objects: raw.Objects}
	settle := func(e *entity) {
		for name, a := range e.Attributes {
			if obj, ok := strings.CutPrefix(a.kind, "@"); ok {
				a.kind, a.base = obj, object
			} else if a.base = s.types[a.kind]; a.base == "" {
				a.base = a.kind
			}
			e.Attributes[name] = a
		}
	}
	for _, e := range s.classes {
		settle(e)
	}
	for _, e := range s.objects {
		settle(e)
	}
	return s, nil
})

const object = "object"

// profileOf names the profile that brings an attribute of classes. An attribute
// of a profile needs it in metadata.profiles, and is required only with it.
var profileOf = map[string]string{
	"ai_model": "ai_operation", "message_context": "ai_operation", "cloud": "cloud", "osint": "osint", "trace": "trace",
	"action": "security_control", "action_id": "security_control", "disposition": "security_control",
	"disposition_id": "security_control", "firewall_rule": "security_control", "malware": "security_control",
	"malware_scan_info": "security_control", "load_balancer": "load_balancer", "container": "container", "namespace_pid": "container",
	"proxy_endpoint": "network_proxy", "proxy_http_request": "network_proxy", "proxy_http_response": "network_proxy",
	"proxy_tls": "network_proxy", "proxy_traffic": "network_proxy", "proxy_connection_info": "network_proxy",
}

// profile is the one that brings an attribute of this class; "" if none does.
func (e *entity) profile(name string) string {
	p := profileOf[name]
	for _, have := range e.Profiles {
		if have == p {
			return p
		}
	}
	return ""
}
