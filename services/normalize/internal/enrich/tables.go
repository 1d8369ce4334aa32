package enrich

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/vagus-hub/vagus/services/internal/bus"
)

// Asset is what the inventory says of a thing: a value of the bucket "assets",
// whose keys are bus.Key(type, name) with a type of host, ip, k8s
// (namespace/pod or namespace), key (credential id) or model.
type Asset struct {
	Owner       string   `json:"owner,omitempty"`
	Criticality string   `json:"criticality,omitempty"` // low, medium, high, critical
	Zone        string   `json:"zone,omitempty"`
	Region      string   `json:"region,omitempty"`
	Labels      []string `json:"labels,omitempty"`

	note string // for the column enrichments
}

// tables is everything that is looked up, unchanging.
type tables struct {
	zones     *ranges
	zoneNames []string
	zoneNote  string
	assets    map[string]*Asset // by type and name: "host\x1fweb1"
	lists     []*loaded
	geo       []*geo
}

// Engine keeps the tables up to date.
type Engine struct {
	cfg     Config
	log     *slog.Logger
	current atomic.Pointer[tables]
	mu      sync.Mutex // one change at a time
}

// New reads the zones and the lists that are files. A list that cannot be read
// is logged and tried again.
func New(cfg Config, log *slog.Logger) (*Engine, error) {
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	e := &Engine{cfg: cfg, log: log}
	t := &tables{zoneNote: "zones@" + time.Now().UTC().Format(time.RFC3339)}
	var nets []network
	for _, name := range slices.Sorted(maps.Keys(cfg.Zones)) {
		for _, text := range cfg.Zones[name] {
			p, err := prefix(text)
			if err != nil {
				return nil, err
			}
			nets = append(nets, newNetwork(p, uint32(len(t.zoneNames))))
		}
		t.zoneNames = append(t.zoneNames, name)
	}
	if len(nets) > 0 {
		t.zones = newRanges(nets)
	}
	e.current.Store(t)
	return e, nil
}

// Run reads lists and inventory until ctx ends, and reads them again when they change.
func (e *Engine) Run(ctx context.Context, b *bus.Bus) {
	var wg sync.WaitGroup
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{Proxy: http.ProxyFromEnvironment}}
	defer client.CloseIdleConnections()
	for _, l := range e.cfg.Lists {
		wg.Go(func() { e.follow(ctx, &source{list: l, client: client}) })
	}
	for _, file := range e.cfg.Geo {
		wg.Go(func() { e.followGeo(ctx, file) })
	}
	if e.cfg.Assets {
		wg.Go(func() { e.inventory(ctx, b) })
	}
	wg.Wait()
}

// change swaps in a copy of the tables with something changed.
func (e *Engine) change(f func(t *tables)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	next := *e.current.Load()
	f(&next)
	e.current.Store(&next)
}

// follow refreshes a list. A bad one keeps the one before.
func (e *Engine) follow(ctx context.Context, s *source) {
	for {
		wait := cmp.Or(s.list.Refresh, time.Hour)
		switch got, err := s.fetch(ctx); {
		case err == nil:
			e.change(func(t *tables) {
				t.lists = slices.DeleteFunc(slices.Clone(t.lists), func(l *loaded) bool { return l.name == got.name })
				t.lists = append(t.lists, got)
			})
			e.log.Info("threat list read", "list", got.name, "entries", got.entries, "bytes", got.bytes())
		case errors.Is(err, errSame):
		case ctx.Err() != nil:
			return
		default:
			e.log.Error("threat list cannot be read; what was read before stays", "error", err)
			wait = min(wait, time.Minute)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// inventory follows the bucket. Changes are taken over together, so that a
// large import does not copy the inventory for every asset.
func (e *Engine) inventory(ctx context.Context, b *bus.Bus) {
	var mu sync.Mutex
	all, dirty := map[string]*Asset{}, false
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			mu.Lock()
			if dirty {
				assets := maps.Clone(all)
				e.change(func(t *tables) { t.assets = assets })
				dirty = false
			}
			mu.Unlock()
		}
	}()
	for ctx.Err() == nil {
		kv, err := bus.OpenBucket[Asset](ctx, b, "assets")
		if err == nil {
			err = kv.Watch(ctx, nil, func(entry bus.Entry[Asset], ready bool) bool {
				if parts, err := bus.ParseKey(entry.Key); err == nil && len(parts) == 2 && !ready {
					mu.Lock()
					defer mu.Unlock()
					key := assetKey(parts[0], parts[1])
					if entry.Deleted {
						delete(all, key)
					} else if len(all) < maxAssets {
						a := entry.Value
						a.note = "assets@" + entry.Time.UTC().Format(time.RFC3339)
						all[key] = &a
					}
					dirty = true
				}
				return true
			})
		}
		if err != nil && ctx.Err() == nil {
			e.log.Warn("inventory", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
	<-done
}

// maxAssets bounds the inventory.
const maxAssets = 1_000_000

func assetKey(kind, name string) string {
	if kind == "ip" {
		if a, err := netip.ParseAddr(name); err == nil {
			name = a.Unmap().String()
		}
	}
	return kind + "\x1f" + strings.ToLower(name)
}

// rank orders criticality; words that are not known rank lowest.
func rank(criticality string) int {
	return slices.Index([]string{"low", "medium", "high", "critical"}, strings.ToLower(criticality)) + 1
}
