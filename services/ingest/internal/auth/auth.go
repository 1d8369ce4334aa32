// Package auth knows which bearer token may write to which source. It keeps
// SHA-256 hashes only, so a stolen configuration is no stolen token.
package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/schemas/subjects"
)

// Token is one credential.
type Token struct {
	// Name shows in logs, blocks and metrics.
	Name string `yaml:"name"`
	// SHA256 is the hash of the token, 64 hex digits.
	SHA256 string `yaml:"sha256"`
	// Sources it may write to: ids, "vendor.*", "auto" or "*".
	Sources []string `yaml:"sources"`
	// NotAfter is when it stops being taken; zero means never. Two tokens of one
	// sender that overlap are how a token is changed without a gap.
	NotAfter time.Time `yaml:"not_after,omitempty"`
}

// ErrNone says that there are no tokens at all.
var ErrNone = errors.New("no tokens: nobody could send anything")

// Set checks tokens. It is read-only once made.
type Set struct{ entries []entry }

type entry struct {
	name     string
	hash     [sha256.Size]byte
	sources  []string
	notAfter time.Time
}

// New checks the tokens and makes a Set.
func New(tokens []Token) (*Set, error) {
	s := &Set{}
	seen := map[string]bool{}
	for i, t := range tokens {
		e := entry{name: t.Name, sources: t.Sources, notAfter: t.NotAfter}
		if subjects.Check(t.Name) != nil {
			return nil, fmt.Errorf("token %d: name %q is not made of letters, digits, '_', '-', '.'", i+1, t.Name)
		}
		if seen[t.Name] {
			return nil, fmt.Errorf("token %s: the name is used twice", t.Name)
		}
		seen[t.Name] = true
		raw, err := hex.DecodeString(t.SHA256)
		if err != nil || len(raw) != sha256.Size {
			return nil, fmt.Errorf("token %s: sha256 is not 64 hex digits (make it with: printf %%s TOKEN | sha256sum)", t.Name)
		}
		copy(e.hash[:], raw)
		if len(t.Sources) == 0 {
			return nil, fmt.Errorf("token %s: no sources (use [\"*\"] for all)", t.Name)
		}
		if err := checkSources(t.Sources); err != nil {
			return nil, fmt.Errorf("token %s: %w", t.Name, err)
		}
		s.entries = append(s.entries, e)
	}
	if len(s.entries) == 0 {
		return nil, ErrNone
	}
	return s, nil
}

func checkSources(sources []string) error {
	for _, p := range sources {
		if name := strings.TrimSuffix(p, ".*"); p != "*" && subjects.Check(name) != nil {
			return fmt.Errorf("source %q is neither an id, vendor.* nor *", p)
		}
	}
	return nil
}

// Identity is a sender whose token was right.
type Identity struct {
	// Name of the token.
	Name    string
	sources []string
}

// Check finds the token in constant time: every entry is compared, whatever
// matches.
func (s *Set) Check(token string) (Identity, bool) {
	sum := sha256.Sum256([]byte(token))
	found := -1
	for i := range s.entries {
		eq := subtle.ConstantTimeCompare(sum[:], s.entries[i].hash[:])
		found = subtle.ConstantTimeSelect(eq, i, found)
	}
	if found < 0 || token == "" {
		return Identity{}, false
	}
	if end := s.entries[found].notAfter; !end.IsZero() && time.Now().After(end) {
		return Identity{}, false
	}
	return Identity{s.entries[found].name, s.entries[found].sources}, true
}

// May reports whether the sender may write to the source.
func (id Identity) May(source string) bool {
	for _, p := range id.sources {
		if p == "*" || p == source || strings.HasSuffix(p, ".*") && strings.HasPrefix(source, p[:len(p)-1]) {
			return true
		}
	}
	return false
}

// Hash is what goes into Token.SHA256.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}
