package mapping

import (
	"strconv"

	"github.com/valyala/fastjson"
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
		if v.json != nil {
			out = appendChat(out, v.json, want, false, 0)
		} else if want != roleSystem {
			out = append(out, v.text...)
		}
		if len(out) == 0 {
			return nil
		}
		if mode == 1 {
			return strconv.AppendInt(nil, int64(len(out)), 10)
		}
		return out
	}
}

// appendChat walks one value; inside says that its role is the wanted one.
func appendChat(out []byte, v *fastjson.Value, want role, inside bool, depth int) []byte {
	if v == nil || depth > 8 || len(out) > maxChat {
		return out
	}
	switch v.Type() {
	case fastjson.TypeString:
		s := v.GetStringBytes()
		if depth == 0 && len(s) > 1 && (s[0] == '[' || s[0] == '{') {
			if inner, err := fastjson.ParseBytes(s); err == nil {
				return appendChat(out, inner, want, false, depth+1)
			}
		}
		if inside || want != roleSystem {
			out = appendPart(out, s)
		}
	case fastjson.TypeArray:
		for i, e := range v.GetArray() {
			if i >= maxMessages {
				break
			}
			out = appendChat(out, e, want, inside, depth+1)
		}
	case fastjson.TypeObject:
		out = appendMessage(out, v, want, inside, depth)
	}
	return out
}

func appendMessage(out []byte, v *fastjson.Value, want role, inside bool, depth int) []byte {
	if r := v.Get("role"); r != nil {
		if !want.matches(r.GetStringBytes()) {
			return out
		}
		inside = true
	}
	for _, key := range [...]string{"message", "delta", "content", "parts", "text", "arguments", "input", "output", "result"} {
		if part := v.Get(key); part != nil {
			out = appendChat(out, part, want, inside, depth+1)
		}
	}
	for _, key := range [...]string{"choices", "messages", "candidates", "tool_calls"} {
		if part := v.Get(key); part != nil {
			out = appendChat(out, part, want, inside, depth+1)
		}
	}
	if f := v.Get("function"); f != nil && want == roleAny {
		out = appendChat(out, f.Get("arguments"), want, inside, depth+1)
	}
	return out
}

func appendPart(out, s []byte) []byte {
	if len(s) == 0 {
		return out
	}
	if len(out) > 0 {
		out = append(out, '\n')
	}
	return append(out, s...)
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
