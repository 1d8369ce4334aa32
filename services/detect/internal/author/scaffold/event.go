// Package scaffold writes new rules: a template, or a rule that fits a real
// event, with a test that fires and one that nearly does.
package scaffold

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/author/report"
	"github.com/vagus-hub/vagus/services/detect/internal/rule"
)

// telling lists the columns that say what an event is about, the most telling
// first. A condition is made of the first few that an event has.
var telling = []event.ColumnID{
	event.MetadataEventCode, event.AIOperation, event.GuardrailVerdict, event.ToolName, event.MCPMethod, event.APIOperation, event.ResourceType,
	event.ProcessPath, event.ProcessCmdLine, event.ScriptContent, event.RegKeyPath, event.FilePath, event.FileName, event.DNSQuery,
	event.HTTPRequestMethod, event.HTTPRequestPath, event.HTTPResponseCode, event.APIResponseCode, event.AIModelName, event.ResourceName,
	event.StatusID, event.StatusCode, event.ActivityID, event.DstEndpointPort, event.MetadataLogName, event.Message,
}

// subjects lists what alerts are about, the best first.
var subjects = []struct {
	column event.ColumnID
	kind   string
}{
	{event.ActorUserCredentialUID, "api_key"}, {event.SrcEndpointIP, "ip"}, {event.ActorUserName, "user"}, {event.DeviceHostname, "host"},
	{event.K8sPod, "pod"}, {event.ContainerName, "container"}, {event.AIAgentName, "agent"}, {event.AIModelName, "model"}, {event.ResourceName, "dataset"},
	{event.ProcessPath, "process"}, {event.ServiceName, "service"},
}

// seen is an event with what a rule makes of it.
type seen struct {
	fields  []rule.TestField
	class   *event.Class
	family  event.Family
	product string
	// part has the fields of the condition.
	part    []rule.TestField
	subject event.ColumnID
	kind    string
}

func see(e rule.TestEvent) seen {
	s := seen{family: e.Family}
	byID := map[event.ColumnID]rule.TestField{}
	hide := hider{}
	for _, f := range e.Fields {
		switch f.Column.ID {
		case event.ClassUID:
			if uid, ok := f.Value.(int64); ok {
				s.class, _ = event.ClassByUID(uint32(uid))
			}
			continue
		case event.Source:
			s.product, _ = f.Value.(string)
			continue
		case event.Time, event.ReceivedAt, event.TimeQuality, event.EventUID, event.Unmapped, event.MetadataOriginalUID, event.Enrichments, event.ActivityName:
			continue
		}
		f.Value = hide.value(f)
		byID[f.Column.ID] = f
		s.fields = append(s.fields, f)
	}
	for _, id := range telling {
		if f, ok := byID[id]; ok && len(s.part) < 3 && condition(f) != "" {
			s.part = append(s.part, f)
		}
	}
	for _, x := range subjects {
		if f, ok := byID[x.column]; ok && s.kind == "" && !slices.ContainsFunc(s.part, func(p rule.TestField) bool { return p.Column.ID == f.Column.ID }) {
			s.subject, s.kind = x.column, x.kind
		}
	}
	return s
}

// hider replaces what tells people and secrets: a rule's file is shared.
type hider struct {
	addresses map[string]string
	people    map[string]string
}

func (h *hider) value(f rule.TestField) any {
	s, ok := f.Value.(string)
	if !ok {
		return f.Value
	}
	number := func(m *map[string]string) int {
		if *m == nil {
			*m = map[string]string{}
		}
		if _, ok := (*m)[s]; !ok {
			(*m)[s] = strconv.Itoa(len(*m) + 1)
		}
		n, _ := strconv.Atoi((*m)[s])
		return n
	}
	switch {
	case f.Column.Kind == event.KindIP:
		return fmt.Sprintf("203.0.113.%d", number(&h.addresses)%250)
	case f.Column.ID == event.ActorUserCredentialUID || f.Column.Privacy == "secret":
		return fmt.Sprintf("key-%d", number(&h.people))
	case strings.Contains(f.Column.Path, "email"):
		return fmt.Sprintf("user-%d@example.com", number(&h.people))
	case f.Column.Privacy == "pii":
		return fmt.Sprintf("user-%d", number(&h.people))
	}
	return cut(report.Clean(s), 400)
}

func cut(s string, n int) string {
	if rs := []rune(s); len(rs) > n {
		return string(rs[:n])
	}
	return s
}

// condition is a comparison that the field's value fulfils, "" if none says
// something.
func condition(f rule.TestField) string {
	switch v := f.Value.(type) {
	case string:
		switch {
		case f.Column.Kind == event.KindIP || strings.ContainsRune(v, '\ufffd') || v == "":
			return ""
		case len(v) <= 60:
			return fmt.Sprintf("%s == %s", f.Column.Path, strconv.Quote(v))
		}
		return fmt.Sprintf("icontains(%s, %s)", f.Column.Path, strconv.Quote(strings.TrimSpace(cut(v, 40))))
	case int64:
		return fmt.Sprintf("%s == %d", f.Column.Path, v)
	case bool:
		return f.Column.Path
	}
	return ""
}

// other is a value of the same kind that does not fulfil the condition.
func other(f rule.TestField) any {
	switch v := f.Value.(type) {
	case string:
		return "something-else"
	case int64:
		if v == 1 {
			return int64(2)
		}
		return int64(1)
	case bool:
		return !v
	}
	return f.Value
}

// yaml writes a value.
func yaml(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case []string:
		var out []string
		for _, s := range v {
			out = append(out, strconv.Quote(s))
		}
		return "[" + strings.Join(out, ", ") + "]"
	case map[string]float64:
		var out []string
		for k, x := range v {
			out = append(out, strconv.Quote(k)+": "+number(x))
		}
		slices.Sort(out)
		return "{" + strings.Join(out, ", ") + "}"
	case float64:
		return number(v)
	}
	return fmt.Sprint(v)
}

// number writes a float so that it is read as one.
func number(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
