package enrich

import (
	"slices"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// maxShown bounds the items of a list column in one row.
const maxShown = 16

// row collects what is known of one event.
type row struct {
	srcZone, dstZone    string
	owner, criticality  string
	labels, lists       []string
	indicators, sources []string
	country             string
	asn                 uint32
}

// put writes what is known into the rows.
func (w *Worker) put(b *block.Builder) {
	var r row
	for i := range b.Rows() {
		found := false
		for c := range w.cols {
			col := &w.cols[c]
			var f *fact
			if col.rows != nil {
				f = col.rows[i]
			} else if i < len(col.keys) {
				f = col.words[col.keys[i]]
			}
			if f == nil {
				continue
			}
			if !found {
				found = true
				r = row{labels: r.labels[:0], lists: r.lists[:0], indicators: r.indicators[:0], sources: r.sources[:0]}
			}
			r.add(w.at, col.id, f)
		}
		if found {
			r.write(b, i)
		}
	}
}

func (r *row) add(t *tables, id event.ColumnID, f *fact) {
	zone, note := f.zone, t.zoneNote
	if a := f.asset; a != nil {
		if r.owner == "" {
			r.owner = a.Owner
		}
		if r.criticality == "" || rank(a.Criticality) > rank(r.criticality) {
			r.criticality = a.Criticality
		}
		for _, l := range a.Labels {
			r.labels = once(r.labels, l)
		}
		if a.Region != "" {
			r.labels = once(r.labels, "region="+a.Region)
		}
		if a.Zone != "" {
			zone, note = a.Zone, a.note // the inventory knows better than the network
		}
		r.sources = once(r.sources, a.note)
	}
	if zone != "" {
		switch id {
		case event.SrcEndpointIP, event.SrcEndpointHostname:
			if r.srcZone == "" {
				r.srcZone = zone
				r.sources = once(r.sources, note)
			}
		case event.DstEndpointIP, event.DstEndpointHostname:
			if r.dstZone == "" {
				r.dstZone = zone
				r.sources = once(r.sources, note)
			}
		}
	}
	if id == event.SrcEndpointIP && f.country != "" {
		r.country, r.sources = f.country, once(r.sources, f.geoNote)
	}
	if id == event.SrcEndpointIP && f.asn != 0 {
		r.asn, r.sources = f.asn, once(r.sources, f.asnNote)
	}
	for _, h := range f.hits {
		r.lists = once(r.lists, h.list.name)
		r.indicators = once(r.indicators, h.indicator)
		r.sources = once(r.sources, h.list.note)
	}
}

// once appends v if it is not there yet.
func once(list []string, v string) []string {
	if v == "" || len(list) >= maxShown || slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

func (r *row) write(b *block.Builder, i int) {
	carries := func(id event.ColumnID) bool { return event.Columns[id].Families.Has(b.Family()) }
	b.PutString(i, event.SrcEndpointZone, r.srcZone)
	if carries(event.DstEndpointZone) {
		b.PutString(i, event.DstEndpointZone, r.dstZone)
	}
	b.PutString(i, event.SrcEndpointCountry, r.country)
	b.PutInt(i, event.SrcEndpointAsn, int64(r.asn))
	b.PutString(i, event.AssetOwner, r.owner)
	b.PutString(i, event.AssetCriticality, r.criticality)
	for _, list := range []struct {
		id     event.ColumnID
		values []string
	}{
		{event.AssetLabels, r.labels}, {event.ThreatLists, r.lists}, {event.ThreatIndicators, r.indicators}, {event.Enrichments, r.sources},
	} {
		for _, v := range list.values {
			b.PutKeyword(i, list.id, v)
		}
	}
}
