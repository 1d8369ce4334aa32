package respond

import (
	"fmt"
	"os"

	"github.com/vagus-hub/vagus/services/respond/internal/spec"
)

// Config is the section of a configuration file that concerns this service.
type Config struct {
	Addr         string                       `yaml:"addr"`
	AuthNetworks []string                     `yaml:"auth_networks"`
	Connectors   map[string]map[string]string `yaml:"connectors"`
	Vars         map[string]map[string]string `yaml:"vars"`
	Budgets      map[string]BudgetConfig      `yaml:"budgets"`
	Protected    []string                     `yaml:"protected"`
	KeepRuns     spec.Duration                `yaml:"keep_runs"`
	MaxAge       spec.Duration                `yaml:"max_age"`
}

// BudgetConfig is a Limit in a configuration file.
type BudgetConfig struct {
	Max    int           `yaml:"max"`
	Window spec.Duration `yaml:"window"`
}

// Apply puts what the file gives over the options. Budgets replace the
// defaults kind by kind; protected values add to them.
func (c Config) Apply(o *Options) {
	if c.Addr != "" {
		o.Addr = c.Addr
	}
	if c.AuthNetworks != nil {
		o.AuthNetworks = c.AuthNetworks
	}
	if c.Connectors != nil {
		o.Connectors = c.Connectors
	}
	if c.Vars != nil {
		o.Vars = c.Vars
	}
	if c.KeepRuns > 0 {
		o.KeepRuns = c.KeepRuns.Std()
	}
	if c.MaxAge > 0 {
		o.MaxAge = c.MaxAge.Std()
	}
	budgets := map[string]Limit{}
	for k, l := range o.Budgets {
		budgets[k] = l
	}
	for k, l := range c.Budgets {
		budgets[k] = Limit{Max: l.Max, Window: l.Window.Std()}
	}
	o.Budgets = budgets
	o.Protected = append(append([]string{}, o.Protected...), c.Protected...)
}

// Load applies a YAML file of its own.
func (o *Options) Load(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("config: %w", err)
	}
	var c Config
	if _, err := spec.Parse(file, text, &c); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	c.Apply(o)
	return nil
}
