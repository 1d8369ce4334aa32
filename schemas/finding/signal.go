package finding

import "encoding/hex"

// Signal is one match of one rule on one event, made for one rule that counts
// it: the input of correlation. Signals are ordered by their stream; the
// correlator is a function of that order alone.
type Signal struct {
	Rule      string   `json:"rule"`                 // id of the rule that counts it
	Version   string   `json:"version"`              // hash of that rule's text, for the audit trail
	Step      int      `json:"step,omitempty"`       // which of the rule's steps matched
	EventUID  EventUID `json:"event_uid"`            // the matching event, or the alert that a chain takes
	Time      int64    `json:"time"`                 // event time, ms since 1970
	Received  int64    `json:"received"`             // when ingest took the record, ms since 1970
	Source    string   `json:"source"`               // source id
	Family    string   `json:"family"`               // where the event is stored
	GroupKey  string   `json:"group_key"`            // values of what the rule groups by, joined by 0x1f
	Value     string   `json:"value,omitempty"`      // what is counted or remembered
	Number    float64  `json:"number,omitempty"`     // what is calculated with
	More      uint32   `json:"more,omitempty"`       // further matches of the group that travel as this number only
	MoreUntil int64    `json:"more_until,omitempty"` // event time of the newest of them
	Retracted bool     `json:"retracted,omitempty"`  // the alert that a chain took is no more
	Fields    []Pair   `json:"fields,omitempty"`     // what the alert shows, each cut at 512 bytes; "" is absent
	Traceback string   `json:"traceback,omitempty"`  // W3C traceparent of the event's journey
}

// EventUID is an event's uid in binary.
type EventUID [16]byte

// ParseEventUID reads 32 hexadecimal digits, with or without hyphens.
func ParseEventUID(s string) (EventUID, bool) {
	var u EventUID
	var digits [32]byte
	n := 0
	for i := range len(s) {
		if s[i] == '-' {
			continue
		}
		if n == len(digits) {
			return u, false
		}
		digits[n] = s[i]
		n++
	}
	_, err := hex.Decode(u[:], digits[:n])
	return u, err == nil && n == len(digits)
}

// String is the uid as it is stored and shown.
func (u EventUID) String() string {
	var b [36]byte
	hex.Encode(b[0:], u[:4])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	hex.Encode(b[9:], u[4:6])
	hex.Encode(b[14:], u[6:8])
	hex.Encode(b[19:], u[8:10])
	hex.Encode(b[24:], u[10:])
	return string(b[:])
}

// MarshalText writes the uid as String does.
func (u EventUID) MarshalText() ([]byte, error) { return []byte(u.String()), nil }
