package main

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/vagus-hub/vagus/services/ingest"
)

func TestBuiltInSourcesAreKnown(t *testing.T) {
	known, err := load(folder(""))
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string]bool{"nginx.access": true, "litellm.proxy": false, "kubernetes.audit": false} {
		if f, ok := known[source]; !ok || f.Text != want {
			t.Errorf("%s is framed as %+v, want text %v", source, f, want)
		}
	}
}

func TestABadMappingDoesNotHideTheOthers(t *testing.T) {
	known, err := load(fstest.MapFS{
		"a.good/mapping.yaml":   {Data: []byte("source: a.good\nformat: text\n")},
		"a.other/mapping.yaml":  {Data: []byte("source: a.wrong\nformat: json\n")},
		"a.format/mapping.yaml": {Data: []byte("source: a.format\nformat: xml\n")},
		"a.yaml/mapping.yaml":   {Data: []byte("source: [\n")},
	})
	if diff := cmp.Diff(map[string]ingest.Framing{"a.good": {Text: true}}, known); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"a.other/mapping.yaml", "a.format/mapping.yaml", "a.yaml/mapping.yaml"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error %v does not name %s", err, want)
		}
	}
}
