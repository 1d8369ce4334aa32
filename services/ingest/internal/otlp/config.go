package otlp

import (
	"fmt"
	"net"

	"github.com/vagus-hub/vagus/services/ingest/internal/reload"
)

// Config is the receiver. The zero value receives on ingest's HTTP port only.
type Config struct {
	// GRPC and HTTP are HOST:PORT of ports of its own; empty or "off": none.
	// By convention they are 4317 and 4318. Port 0 takes a free one.
	GRPC string `yaml:"grpc"`
	HTTP string `yaml:"http"`
	// TLS of these two ports. Client certificates stand for the senders that
	// ingest.clients names.
	TLS reload.TLS `yaml:"tls"`
	// Insecure lets the two ports listen beyond loopback without TLS.
	Insecure bool `yaml:"insecure"`
	// Routes name the source of a resource's records; the first that fits
	// decides.
	Routes []Route `yaml:"routes"`
	// Source of records that no route fits; default "auto".
	Source string `yaml:"source"`
	// MaxMessage bounds a request in bytes, packed and unpacked; default 16
	// MiB.
	MaxMessage int `yaml:"max_message"`
	// MaxConnections bounds the connections of the gRPC port; default 512.
	MaxConnections int `yaml:"max_connections"`
}

// Route gives the records of a resource a source.
type Route struct {
	// Attribute of the resource, for example service.name.
	Attribute string `yaml:"attribute"`
	// Value it must have; * stands for any text.
	Value string `yaml:"value"`
	// Source id, or auto.
	Source string `yaml:"source"`
}

const (
	off                = "off"
	defaultMessage     = 16 << 20
	maxMessage         = 256 << 20
	defaultConnections = 512
	maxRoutes          = 256
)

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	for key, addr := range map[string]string{"grpc": c.GRPC, "http": c.HTTP} {
		if addr == "" || addr == off {
			continue
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("otlp.%s %q: want HOST:PORT", key, addr)
		}
	}
	if c.MaxMessage < 0 || c.MaxMessage > maxMessage {
		return fmt.Errorf("otlp.max_message: %d bytes, want at most %d", c.MaxMessage, maxMessage)
	}
	if c.MaxConnections < 0 {
		return fmt.Errorf("otlp.max_connections: %d, must not be negative", c.MaxConnections)
	}
	if len(c.Routes) > maxRoutes {
		return fmt.Errorf("otlp.routes: %d, at most %d", len(c.Routes), maxRoutes)
	}
	for i, r := range c.Routes {
		if r.Attribute == "" || r.Value == "" || r.Source == "" {
			return fmt.Errorf("otlp.routes[%d]: attribute, value and source are needed", i)
		}
	}
	if err := c.TLS.Check(); err != nil {
		return fmt.Errorf("otlp.%w", err)
	}
	return nil
}
