package mapping

import (
	"bytes"
	"unicode/utf8"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// filled says which of the columns that an envelope can fill have a value.
type filled struct{ host, app bool }

func (f *filled) note(id event.ColumnID) {
	switch id {
	case event.DeviceHostname:
		f.host = true
	case event.ServiceName:
		f.app = true
	}
}

// fromEnvelope fills what the mapping left empty.
func (r *Runner) fromEnvelope(b *block.Builder, family event.Family) {
	set := func(id event.ColumnID, has bool, v []byte) {
		if col := &event.Columns[id]; !has && col.Families.Has(family) {
			if !utf8.Valid(v) {
				v = bytes.ToValidUTF8(v, []byte("\uFFFD"))
			}
			b.SetText(id, clip(v, col.Max, r.b))
		}
	}
	set(event.DeviceHostname, r.filled.host, r.rec.Known.Host)
	set(event.ServiceName, r.filled.app, r.rec.Known.App)
	r.filled = filled{}
}
