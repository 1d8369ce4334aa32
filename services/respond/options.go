package respond

import (
	"io/fs"
	"log/slog"
	"time"

	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/internal/telemetry"
	"github.com/vagus-hub/vagus/services/respond/internal/engine"
)

// Durable is the name of this service's position in ALERTS.
const Durable = "respond"

// Limit is a number of actions of a kind within a window.
type Limit struct {
	Max    int
	Window time.Duration
}

// Options configures the service. Bus, Content and Token are required.
type Options struct {
	Bus    *bus.Bus
	Logger *slog.Logger
	// Metrics receives the service's metrics; default: a registry of its own.
	Metrics *telemetry.Registry
	// Content holds the playbooks folder: <domain>/<slug>.yml and
	// connectors/<vendor>.yml. Files with mistakes are left out and logged.
	Content fs.FS
	// More are further such folders; a file there replaces one of the same id.
	More []fs.FS
	// Addr is where the API and the decisions feed listen, host:port; port 0
	// takes a free one (see Service.Addr). Default 127.0.0.1:8481.
	Addr string
	// Token is the bearer token of the API.
	Token string
	// AuthNetworks are the CIDR ranges that may ask /v1/decisions/auth without
	// the token; default: loopback.
	AuthNetworks []string
	// Connectors holds the settings of connectors by id, for example
	// webhook: {url: https://…, secret: env:NAME}. Secrets are references.
	Connectors map[string]map[string]string
	// Vars sets variables of playbooks: playbook id → name → value.
	Vars map[string]map[string]string
	// Budgets bound actions without a person by kind; default 20 block, 20
	// limit and 5 isolate in 10 minutes. Further ones wait for an approval.
	Budgets map[string]Limit
	// Protected are values no destructive action may touch: addresses, CIDR
	// ranges, or type:value; default: the namespaces of Kubernetes itself.
	Protected []string
	// MaxAge is how old an alert may be, by its time on the bus, to still start
	// playbooks: after a long outage, or at a first start over a full bus, what
	// was right then may be wrong now. Older ones are logged and counted.
	// Default 1 hour.
	MaxAge time.Duration
	// Workers is the number of runs that are advanced at the same time.
	Workers int
	// KeepRuns is how long finished runs and quiet incidents stay listed; of runs
	// at most 10,000.
	KeepRuns time.Duration
	// Now is the clock.
	Now func() time.Time
}

// DefaultOptions are the defaults named above.
func DefaultOptions() Options {
	return Options{
		Logger: slog.Default(), Addr: "127.0.0.1:8481", AuthNetworks: []string{"127.0.0.0/8", "::1/128"},
		Budgets: map[string]Limit{
			"block": {20, 10 * time.Minute}, "limit": {20, 10 * time.Minute}, "isolate": {5, 10 * time.Minute},
		},
		Protected: []string{"namespace:kube-system", "namespace:kube-public", "namespace:kube-node-lease"},
		MaxAge:    time.Hour,
		Workers:   8, KeepRuns: 30 * 24 * time.Hour, Now: time.Now,
	}
}

func (o *Options) envelope() engine.Envelope {
	v := engine.Envelope{Budgets: map[string]engine.Limit{}, Protected: o.Protected}
	for k, l := range o.Budgets {
		v.Budgets[k] = engine.Limit(l)
	}
	return v
}
