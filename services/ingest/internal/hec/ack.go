package hec

import (
	"container/list"
	"sync"
	"time"
)

// Bounds of the acknowledgements: what is kept of a channel is one number.
const (
	maxChannels = 4096
	channelFor  = 30 * time.Minute
	// maxAsked bounds the ids of one question.
	maxAsked = 10_000
)

// channels counts the ids given out. An id is given out only after its events
// are stored, so every id ever given out is acknowledged; a channel that is
// forgotten makes its sender send again, never believe too much.
type channels struct {
	mu   sync.Mutex
	byID map[string]*list.Element
	used *list.List // of *channel, the least recently used last
	now  func() time.Time
}

type channel struct {
	name string
	next uint64
	seen time.Time
}

func newChannels() *channels {
	return &channels{byID: map[string]*list.Element{}, used: list.New(), now: time.Now}
}

// next gives out an id of the channel.
func (c *channels) next(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	e, found := c.byID[name]
	if !found {
		if c.used.Len() >= maxChannels {
			c.drop(c.used.Back())
		}
		e = c.used.PushFront(&channel{name: name})
		c.byID[name] = e
	}
	c.used.MoveToFront(e)
	ch := e.Value.(*channel)
	ch.seen = c.now()
	ch.next++
	return ch.next - 1
}

// given is the number of ids given out on the channel.
func (c *channels) given(name string) uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.expire()
	e, found := c.byID[name]
	if !found {
		return 0
	}
	c.used.MoveToFront(e)
	ch := e.Value.(*channel)
	ch.seen = c.now()
	return ch.next
}

func (c *channels) expire() {
	for e := c.used.Back(); e != nil && c.now().Sub(e.Value.(*channel).seen) > channelFor; e = c.used.Back() {
		c.drop(e)
	}
}

func (c *channels) drop(e *list.Element) {
	delete(c.byID, e.Value.(*channel).name)
	c.used.Remove(e)
}

// isGUID reports whether s looks as Splunk wants a channel to look.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch dash := i == 8 || i == 13 || i == 18 || i == 23; {
		case dash && c != '-':
			return false
		case dash, '0' <= c && c <= '9', 'a' <= c && c <= 'f', 'A' <= c && c <= 'F':
		default:
			return false
		}
	}
	return true
}
