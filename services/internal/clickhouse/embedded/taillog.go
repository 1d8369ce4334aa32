package embedded

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
)

// maxLogLine bounds a line taken from the child, in bytes.
const maxLogLine = 16 << 10

// tailLog passes the child's lines on to the logger and remembers the last.
type tailLog struct {
	log *slog.Logger

	mu   sync.Mutex
	buf  []byte
	text string
}

// Write takes a piece of the child's standard error.
func (t *tailLog) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	for {
		i := bytes.IndexByte(t.buf, '\n')
		if i < 0 {
			break
		}
		t.line(string(t.buf[:i]))
		t.buf = t.buf[i+1:]
	}
	if len(t.buf) > maxLogLine {
		t.line(string(t.buf[:maxLogLine]))
		t.buf = nil
	}
	return len(p), nil
}

func (t *tailLog) line(s string) {
	s = strings.TrimSpace(s)
	if s == "" {
		return
	}
	t.text = s
	var rec map[string]any
	if json.Unmarshal([]byte(s), &rec) != nil {
		t.log.Debug("clickhouse engine: " + s)
		return
	}
	var level slog.Level
	_ = level.UnmarshalText([]byte(asString(rec["level"])))
	attrs := make([]any, 0, 2*len(rec))
	for k, v := range rec {
		if k != "level" && k != "msg" && k != "time" {
			attrs = append(attrs, k, v)
		}
	}
	t.log.Log(context.Background(), level, "clickhouse engine: "+asString(rec["msg"]), attrs...)
}

// last is the last line seen.
func (t *tailLog) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.text
}

func asString(v any) string {
	s, _ := v.(string)
	return s
}
