package pull

import (
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/vagus-hub/vagus/services/ingest/internal/httpin/hubtest"
	"github.com/vagus-hub/vagus/services/ingest/internal/pull/puller"
)

func TestConfig(t *testing.T) {
	for name, c := range map[string]struct{ text, want string }{
		"bucket":          {`[{name: a, source: auto, s3: {bucket: logs, lookback: 2h}}]`, ""},
		"elastic":         {`[{name: a, elastic: {url: "https://es.example.com", query: '{"term":{"x":1}}'}}]`, ""},
		"no name":         {`[{s3: {bucket: logs}}]`, "name"},
		"path as name":    {`[{name: ../a, s3: {bucket: logs}}]`, "name"},
		"no kind":         {`[{name: a}]`, "exactly one"},
		"two kinds":       {`[{name: a, s3: {bucket: b}, elastic: {url: "https://es.example.com"}}]`, "exactly one"},
		"twice":           {`[{name: a, s3: {bucket: b}}, {name: A, s3: {bucket: b}}]`, "two of that name"},
		"unknown source":  {`[{name: a, source: no.such, s3: {bucket: b}}]`, "unknown source"},
		"plain http":      {`[{name: a, elastic: {url: "http://es.example.com"}}]`, "elastic.url"},
		"no secret":       {`[{name: a, graph: {tenant: example.com}}]`, "client_secret"},
		"unknown key":     {`[{name: a, s3: {bucket: b, colour: red}}]`, "colour"},
		"odd region":      {`[{name: a, s3: {bucket: b, region: "x.example.com/"}}]`, "region"},
		"too often":       {`[{name: a, every: 1ms, s3: {bucket: b}}]`, "every"},
		"half credential": {`[{name: a, s3: {bucket: b, access_key: x}}]`, "secret_key"},
	} {
		t.Run(name, func(t *testing.T) {
			var configs []Config
			err := yaml.UnmarshalWithOptions([]byte(c.text), &configs, yaml.Strict())
			if err == nil {
				_, err = New(configs, puller.Options{Hub: hubtest.New(t), Dir: t.TempDir()})
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
