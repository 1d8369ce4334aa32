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
	maxMessages = 2000
	maxChat     = 1 << 20 // bytes
)

// chatText collects the words of one role from the shapes that AI APIs use: a
// plain string, OpenAI messages (content as text or parts), OpenAI responses
// (choices), OpenTelemetry messages (parts) and strings that hold one of these
// as JSON. mode 1 gives the length in bytes instead.
func chatText(want role, mode int) transform {
	return func(v *value, scratch []byte) []byte {
		out := scratch[:0]
		switch {
		case v.json.Kind == json.String:
			// The words go to the first half, a string of JSON to the second.
			half := cap(scratch) / 2
			text := v.text
			if text == nil {
				text = textOf(v.json, scratch[half:half])
			}
			out = appendDocument(scratch[:0:half], text, want)
		case v.json.Kind != json.Absent:
			out = appendChat(out, v.json, want, false, 0)
		case want != roleSystem:
			out = append(out, v.text...)
		}
		if len(out) == 0 {
			return nil
		}
		if mode == 1 {
			return strconv.AppendInt(scratch[:0], int64(len(out)), 10)
		}
		return out
	}
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
	if depth > 8 || len(out) > maxChat {
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
			out = appendChat(out, s.Value(), want, inside, depth+1)
		}
	case json.Object:
		out = appendMessage(out, v, want, inside, depth)
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

func appendMessage(out []byte, v json.Value, want role, inside bool, depth int) []byte {
	var parts [messageParts]json.Value
	var function json.Value
	var s json.Scanner
	s.Reset(v.Raw)
	s.Enter()
	for first := true; ; first = false {
		key, _, ok := s.Key(first)
		if !ok {
			break
		}
		part := s.Value()
		if i := messagePart(key); i >= 0 {
			parts[i] = part
			continue
		}
		switch string(key) {
		case "role":
			if !want.matches(textOf(part, nil)) {
				return out
			}
			inside = true
		case "function":
			function = part
		}
	}
	for _, part := range parts {
		if part.Kind != json.Absent {
			out = appendChat(out, part, want, inside, depth+1)
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
