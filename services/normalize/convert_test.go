package normalize

import (
	"slices"
	"testing"
	"time"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/schemas/sources"
	"github.com/vagus-hub/vagus/services/internal/block"
)

const oldLine = `203.0.113.7 - - [03/Mar/2019:10:00:00 +0000] "GET /v1/models HTTP/1.1" 401 12 "-" "curl/8"` + "\n"

func TestConvert(t *testing.T) {
	c, err := NewConverter(sources.FS)
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		source, data string
		want         Converted
	}{
		"named":        {"nginx.access", oldLine + oldLine, Converted{Records: 2, Events: 2}},
		"recognised":   {"auto", oldLine, Converted{Records: 1, Events: 1}},
		"unrecognised": {"auto", "?\n", Converted{Records: 1, Dead: 1, Why: "no source's mapping recognises the record"}},
	} {
		t.Run(name, func(t *testing.T) {
			events := 0
			got, err := c.Convert(tc.source, []byte(tc.data), time.Now().UnixMilli(), func(payload []byte) error {
				var b block.Block
				if err := block.Decode(payload, &b); err != nil {
					return err
				}
				events += b.Rows()
				if at := time.UnixMilli(b.Column(event.Time).Int(0)).UTC(); at.Year() != 2019 {
					t.Errorf("the time of an old record reads %s", at)
				}
				return nil
			})
			if err != nil || got != tc.want || events != tc.want.Events {
				t.Errorf("%+v, %d events, %v", got, events, err)
			}
		})
	}
	if _, err := c.Convert("acme.none", nil, 0, nil); err == nil {
		t.Error("a source without mapping is converted")
	}
}

func TestFeeds(t *testing.T) {
	c, err := NewConverter(sources.FS)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range c.Feeds() {
		if f.Source == "nginx.access" && slices.Contains(f.Columns, event.HTTPRequestPath) {
			return
		}
	}
	t.Error("nginx.access does not fill http_request.path")
}
