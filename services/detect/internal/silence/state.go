package silence

import (
	"bytes"
	"cmp"
	"encoding/gob"
	"fmt"
	"slices"
)

// version of the state; another one is not read.
const version = 1

type state struct {
	Version    int
	AsOf, Tick int64
	Resumed    int64
	Newest     int64
	Sources    []*source
}

// Save writes the state, at most some 12 KB a source.
func (t *Tracker) Save() ([]byte, error) {
	st := state{Version: version, AsOf: t.asOf, Tick: t.tick, Resumed: t.resumed, Newest: t.newest}
	for _, s := range t.sources {
		st.Sources = append(st.Sources, s)
	}
	slices.SortFunc(st.Sources, func(a, b *source) int { return cmp.Compare(a.Name, b.Name) })
	var out bytes.Buffer
	if err := gob.NewEncoder(&out).Encode(st); err != nil {
		return nil, fmt.Errorf("save silence: %w", err)
	}
	return out.Bytes(), nil
}

// Load replaces the state by what Save wrote. An error leaves it as it was.
func (t *Tracker) Load(data []byte) error {
	var st state
	if err := gob.NewDecoder(bytes.NewReader(data)).Decode(&st); err != nil {
		return fmt.Errorf("load silence: %w", err)
	}
	if st.Version != version || len(st.Sources) > maxSources {
		return fmt.Errorf("load silence: version %d with %d sources, want version %d", st.Version, len(st.Sources), version)
	}
	sources := make(map[string]*source, len(st.Sources))
	for _, s := range st.Sources {
		sources[s.Name] = s
	}
	t.asOf, t.tick, t.resumed, t.newest, t.sources = st.AsOf, st.Tick, st.Resumed, st.Newest, sources
	return nil
}
