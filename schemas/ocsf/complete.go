package ocsf

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

const unknown = "unknown"

// complete adds what OCSF requires and the event does not have, here and in the
// objects that are there.
func (x *export) complete(path string, e *entity, doc map[string]any, class bool) {
	for _, name := range slices.Sorted(maps.Keys(doc)) {
		a := e.Attributes[name]
		obj := x.schema.objects[a.kind]
		if a.base != object || obj == nil || len(obj.Attributes) == 0 || name == "unmapped" {
			continue
		}
		switch v := doc[name].(type) {
		case map[string]any:
			x.complete(path+name+".", obj, v, false)
		case []any:
			for i, one := range v {
				if sub, ok := one.(map[string]any); ok {
					x.complete(fmt.Sprintf("%s%s[%d].", path, name, i), obj, sub, false)
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Attributes)) {
		a := e.Attributes[name]
		if _, ok := doc[name]; ok || !a.required {
			continue
		}
		if p := e.profile(name); class && p != "" && !x.profiles[p] {
			continue
		}
		x.fill(path, e, doc, name)
	}
	missing := func(names []string) bool {
		return len(names) > 0 && !slices.ContainsFunc(names, func(n string) bool { _, ok := doc[n]; return ok })
	}
	if missing(e.AtLeastOne) {
		x.fill(path, e, doc, e.sample(e.AtLeastOne))
	}
	if missing(e.JustOne) {
		x.fill(path, e, doc, e.sample(e.JustOne))
	}
}

// fill gives a required attribute a value: one that follows from others, else
// one that says that it is not known.
func (x *export) fill(path string, e *entity, doc map[string]any, name string) {
	a := e.Attributes[name]
	if v, ok := x.derive(path+name, doc); ok {
		doc[name] = v
		return
	}
	var v any
	switch {
	case a.base == object:
		sub := map[string]any{}
		if obj := x.schema.objects[a.kind]; obj != nil {
			if _, ok := obj.Attributes["name"]; ok && len(obj.AtLeastOne) == 0 {
				sub["name"] = unknown
			}
			x.complete(path+name+".", obj, sub, false)
		}
		v = sub
	case a.base == "string_t":
		v = unknown
		if len(a.enum) > 0 && !a.enum[unknown] {
			v = slices.Sorted(maps.Keys(a.enum))[0]
		}
	case a.base == "boolean_t":
		v = false
	case a.kind == "timestamp_t":
		v = x.time
	case len(a.enum) > 0 && !a.enum["0"]:
		v = int64(99)
	default:
		v = int64(0)
	}
	if a.array {
		v = []any{v}
	}
	doc[name] = v
	// Of a class that says nothing at all, the innermost attributes are listed.
	// Zero of an enumeration is OCSF's own word for unknown.
	if a.base != object && len(a.enum) == 0 {
		x.filled = append(x.filled, path+name)
	}
}

// derive finds a required value in what the event has elsewhere.
func (x *export) derive(path string, doc map[string]any) (any, bool) {
	str := func(v string) (any, bool) { return v, v != "" }
	switch {
	case strings.HasSuffix(path, "file.name"):
		p, _ := doc["path"].(string)
		return str(p[strings.LastIndexAny(p, `/\`)+1:])
	case path == "api.operation":
		return str(first(x.text("activity_name"), x.text("http_request.method")))
	case path == "cloud.provider":
		return str(providers[strings.SplitN(x.text("source"), ".", 2)[0]])
	case path == "finding_info.uid":
		return str(first(x.text("finding_info.title"), x.text("metadata.original_uid"), x.text("event_uid")))
	case path == "message_context.name", path == "message_context.service", path == "message_context.application":
		if name := first(x.text("service.name"), x.text("source")); name != "" && !strings.HasSuffix(path, ".name") {
			return map[string]any{"name": name}, true
		}
	case path == "ai_model.name":
		return str(first(x.text("ai_model.uid"), x.text("ai.model_group")))
	case path == "app.name", path == "service.name", path == "database.name":
		return str(first(x.text("service.name"), x.text("resource.name"), x.text("source")))
	case path == "reg_value.name":
		p, _ := doc["path"].(string)
		return str(p[strings.LastIndexAny(p, `/\`)+1:])
	case strings.HasSuffix(path, "span.start_time"):
		return x.time, true
	case path == "device.name", path == "src_endpoint.name" && x.text("device.hostname") != "":
		return str(x.text("device.hostname"))
	case path == "actor.app_name":
		return str(first(x.text("service.name"), x.text("http_request.user_agent")))
	case strings.HasSuffix(path, "span.end_time"):
		return x.time + x.number("duration"), true
	}
	return nil, false
}

// providers are the clouds by the vendor of a source.
var providers = map[string]string{"aws": "AWS", "azure": "Azure", "microsoft": "Azure", "gcp": "GCP", "google": "GCP"}

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
