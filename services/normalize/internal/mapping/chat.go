package mapping

import (
	"strconv"

	"github.com/vagus-hub/vagus/services/normalize/internal/json"
)

// role is whose words of a conversation are wanted.
type role uint8

const (
	roleUser   role = iota // user, and texts without a role: prompts and inputs
	roleSystem             // system and developer
	roleAny                // everything: responses
)

// Bounds on a conversation: what is beyond is hostile or useless.
const (
	maxMessages  = 2000
	maxChat      = 1 << 20 // bytes
	maxChatDepth = 8
)

// chat is which words of a conversation a transform wants, or how many bytes
// they are.
type chat struct {
	role   role
	length bool
}

// chats are the transforms that read conversations.
var chats = map[string]chat{
	"chat_user":     {role: roleUser},
	"chat_system":   {role: roleSystem},
	"chat_response": {role: roleAny},
	"chat_length":   {role: roleUser, length: true},
	"reply_length":  {role: roleAny, length: true},
}

// onItem is the transform for an item of a list.
func (c chat) onItem(v *value, scratch []byte) []byte {
	return c.result(appendWords(scratch[:0], v, v.text, c.role), nil)
}

// result is what the transform makes of the words.
func (c chat) result(words, scratch []byte) []byte {
	switch {
	case len(words) == 0:
		return nil
	case c.length:
		return strconv.AppendInt(scratch[:0], int64(len(words)), 10)
	}
	return words
}

// said is the words of a slot, kept for the other columns of the event that
// want them.
type said struct {
	slot  int
	role  role
	words []byte
}

// chat applies a transform of a conversation to a slot.
func (r *Runner) chat(c *chat, slot int) []byte {
	for i := range r.said {
		if s := &r.said[i]; s.slot == slot && s.role == c.role {
			return c.result(s.words, r.a)
		}
	}
	v, text := &r.values[slot], []byte(nil)
	if v.isText() {
		text = r.text(slot)
	}
	at := len(r.arena)
	words := appendWords(r.arena[at:at], v, text, c.role)
	if at+len(words) <= cap(r.arena) {
		r.arena = r.arena[:at+len(words)] // they were written there
	} else {
		r.arena = append(r.arena, words...)
	}
	r.said = append(r.said, said{slot, c.role, words})
	return c.result(words, r.a)
}

// appendWords collects the words of one role from the shapes that AI APIs use: a
// plain string, OpenAI messages (content as text or parts), OpenAI responses
// (choices), OpenTelemetry messages (parts) and strings that hold one of these
// as JSON. text is the value's if it is one. out must be empty.
func appendWords(out []byte, v *value, text []byte, want role) []byte {
	switch {
	case v.json.Kind == json.String:
		return appendDocument(out, text, want)
	case v.json.Kind != json.Absent:
		return appendChat(out, v.json, want, false, 0)
	case want != roleSystem:
		return append(out, text...)
	}
	return out
}

// appendDocument takes a text that may hold JSON.
func appendDocument(out, text []byte, want role) []byte {
	if len(text) > 1 && (text[0] == '[' || text[0] == '{') {
		var s json.Scanner
		s.Reset(text)
		v := s.Value()
		if s.End(); !s.Failed() {
			return appendChat(out, v, want, false, 1)
		}
	}
	if want == roleSystem {
		return out
	}
	return append(out, text...)
}

// appendChat walks one value; inside says that its role is the wanted one.
func appendChat(out []byte, v json.Value, want role, inside bool, depth int) []byte {
	if depth > maxChatDepth || len(out) > maxChat {
		return out
	}
	switch v.Kind {
	case json.String:
		if len(v.Raw) > 2 && (inside || want != roleSystem) {
			if len(out) > 0 {
				out = append(out, '\n')
			}
			out = v.AppendText(out)
		}
	case json.Array:
		var s json.Scanner
		s.Reset(v.Raw)
		s.Enter()
		for i := 0; i < maxMessages && s.Element(i == 0); i++ {
			if k := s.Next(); k != json.Object {
				out = appendChat(out, s.Read(k), want, inside, depth+1)
			} else if depth >= maxChatDepth || len(out) > maxChat {
				return out
			} else {
				out = appendMessage(out, &s, want, inside, depth+1)
			}
		}
	case json.Object:
		var s json.Scanner
		s.Reset(v.Raw)
		out = appendMessage(out, &s, want, inside, depth)
	}
	return out
}

// messageParts are the keys under which words stand, in the order in which
// they are said.
const (
	partMessage = iota
	partDelta
	partContent
	partParts
	partText
	partArguments
	partInput
	partOutput
	partResult
	partChoices
	partMessages
	partCandidates
	partToolCalls
	messageParts
)

func messagePart(key []byte) int {
	switch string(key) {
	case "message":
		return partMessage
	case "delta":
		return partDelta
	case "content":
		return partContent
	case "parts":
		return partParts
	case "text":
		return partText
	case "arguments":
		return partArguments
	case "input":
		return partInput
	case "output":
		return partOutput
	case "result":
		return partResult
	case "choices":
		return partChoices
	case "messages":
		return partMessages
	case "candidates":
		return partCandidates
	case "tool_calls":
		return partToolCalls
	}
	return -1
}

// appendMessage reads the object that comes next.
func appendMessage(out []byte, s *json.Scanner, want role, inside bool, depth int) []byte {
	var parts [messageParts]json.Value
	var function json.Value
	has := 0
	other := false // another's words
	s.Enter()
	for first := true; ; first = false {
		key, _, ok := s.Key(first)
		if !ok {
			break
		}
		part := s.Value()
		if i := messagePart(key); i >= 0 {
			parts[i] = part
			has |= 1 << i
			continue
		}
		switch string(key) {
		case "role":
			other = other || !want.matches(textOf(part, nil))
			inside = true
		case "function":
			function = part
		}
	}
	if other {
		return out
	}
	for i := range parts {
		if has&(1<<i) != 0 {
			out = appendChat(out, parts[i], want, inside, depth+1)
		}
	}
	if want == roleAny && function.Kind == json.Object {
		out = appendChat(out, function.Get("arguments"), want, inside, depth+1)
	}
	return out
}

func (r role) matches(name []byte) bool {
	switch r {
	case roleUser:
		return string(name) == "user" || string(name) == "human"
	case roleSystem:
		return string(name) == "system" || string(name) == "developer"
	}
	return true
}
