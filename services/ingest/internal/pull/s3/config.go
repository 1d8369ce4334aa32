// Package s3 pulls objects from a bucket that speaks S3's protocol: by listing
// it, or as the messages of an SQS queue tell. An object is read as a stream
// and stored in parts, so that its size does not matter for memory.
package s3

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

// Config is a bucket, or a queue that tells of its objects.
type Config struct {
	Bucket string `yaml:"bucket"`
	Region string `yaml:"region"` // default us-east-1
	// Endpoint of another server than Amazon's, such as https://s3.example.com;
	// the bucket is then a part of the path.
	Endpoint string `yaml:"endpoint"`
	// AccessKey, SecretKey and Session are the credentials, by reference.
	AccessKey puller.Secret `yaml:"access_key"`
	SecretKey puller.Secret `yaml:"secret_key"`
	Session   puller.Secret `yaml:"session_token"`
	CA        string        `yaml:"ca"` // file of certificates to trust instead of the system's

	// Prefixes of the keys; each has a place of its own. Default: all keys.
	Prefixes []string `yaml:"prefixes"`
	// Split makes a place of its own of each of the folders so many levels
	// below a prefix (0 to 4), for keys that begin with a region, say.
	Split int `yaml:"split"`
	// Suffixes that are taken, such as .json.gz; default: all.
	Suffixes []string `yaml:"suffixes"`
	// Lookback is how much later an object may appear than objects whose keys
	// sort behind its own; default 1h.
	Lookback time.Duration `yaml:"lookback"`
	// Queue is the URL of an SQS queue with notifications; the bucket is then
	// not listed.
	Queue string `yaml:"queue"`
	// Format is lines (NDJSON too), records ({"Records": […]} or an array), or
	// auto, the default: what the object begins with decides.
	Format string `yaml:"format"`
	// MaxObject bounds an object in bytes, unpacked; default 4 GiB.
	MaxObject int64 `yaml:"max_object"`
}

// Check reports what is wrong, naming the key.
func (c *Config) Check() error {
	_, err := c.complete()
	return err
}

func (c Config) complete() (Config, error) {
	if c.Region == "" {
		c.Region = "us-east-1"
	}
	if c.Lookback == 0 {
		c.Lookback = time.Hour
	}
	if c.Format == "" {
		c.Format = auto
	}
	if c.MaxObject == 0 {
		c.MaxObject = 4 << 30
	}
	if len(c.Prefixes) == 0 {
		c.Prefixes = []string{""}
	}
	switch {
	case c.Bucket == "" || strings.ContainsAny(c.Bucket, "/?#@: "):
		return c, fmt.Errorf("bucket: %q is no name of a bucket", c.Bucket)
	case (c.AccessKey == "") != (c.SecretKey == ""):
		return c, errors.New("access_key and secret_key go together")
	case !slices.Contains([]string{auto, lines, records}, c.Format):
		return c, fmt.Errorf("format: %q is none of auto, lines, records", c.Format)
	case c.Split < 0 || c.Split > 4:
		return c, fmt.Errorf("split: %d; want 0 to 4", c.Split)
	case c.Lookback < 0 || c.Lookback > 7*24*time.Hour:
		return c, fmt.Errorf("lookback: %s; want at most 168h", c.Lookback)
	case c.MaxObject < 0:
		return c, fmt.Errorf("max_object: %d is negative", c.MaxObject)
	case strings.ContainsAny(c.Region, "/?#@: "):
		return c, fmt.Errorf("region: %q is no name of a region", c.Region)
	}
	if _, err := puller.CheckURL(c.base()); err != nil {
		return c, fmt.Errorf("endpoint: %w", err)
	}
	if c.Queue != "" {
		if _, err := puller.CheckURL(c.Queue); err != nil {
			return c, fmt.Errorf("queue: %w", err)
		}
	}
	return c, nil
}

// base is the URL of the bucket.
func (c *Config) base() string {
	if c.Endpoint != "" {
		return strings.TrimSuffix(c.Endpoint, "/") + "/" + c.Bucket
	}
	return "https://" + c.Bucket + ".s3." + c.Region + ".amazonaws.com"
}

// queueHost is the address that queue requests go to.
func (c *Config) queueHost() string {
	u, err := url.Parse(c.Queue)
	if err != nil { // checked
		return c.Queue
	}
	return u.Scheme + "://" + u.Host + "/"
}
