package enrich

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/oschwald/maxminddb-golang/v2"
)

// maxGeo bounds a database, which is held in memory.
const maxGeo = 1 << 30

// geo is a database of addresses.
type geo struct {
	file   string
	note   string
	reader *maxminddb.Reader
	stamp  time.Time
}

// place is what is read of a database's record.
type place struct {
	Country struct {
		ISO string `maxminddb:"iso_code"`
	} `maxminddb:"country"`
	ASN uint32 `maxminddb:"autonomous_system_number"`
}

// openGeo reads a database if its file has changed since; else errSame.
func openGeo(file string, since time.Time) (*geo, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("geo: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("geo: %w", err)
	}
	if info.ModTime().Equal(since) {
		return nil, errSame
	}
	if info.Size() > maxGeo {
		return nil, fmt.Errorf("geo %s: %d bytes, at most %d", file, info.Size(), maxGeo)
	}
	// Read rather than mapped into memory: a file that is overwritten in place
	// would pull the ground from under a lookup.
	data, err := io.ReadAll(io.LimitReader(f, maxGeo))
	if err != nil {
		return nil, fmt.Errorf("geo %s: %w", file, err)
	}
	r, err := maxminddb.OpenBytes(data)
	if err != nil {
		return nil, fmt.Errorf("geo %s: %w", file, err)
	}
	built := time.Unix(int64(r.Metadata.BuildEpoch), 0).UTC()
	return &geo{file: file, note: "geo@" + built.Format(time.RFC3339), reader: r, stamp: info.ModTime()}, nil
}

// followGeo reads a database, and again when its file changes. A bad one keeps
// the one before.
func (e *Engine) followGeo(ctx context.Context, file string) {
	var last time.Time
	for {
		wait := time.Minute
		switch g, err := openGeo(file, last); {
		case err == nil:
			last = g.stamp
			e.change(func(t *tables) {
				t.geo = slices.DeleteFunc(slices.Clone(t.geo), func(o *geo) bool { return o.file == file })
				t.geo = append(t.geo, g)
			})
			e.log.Info("geo database read", "file", file, "type", g.reader.Metadata.DatabaseType)
		case !errors.Is(err, errSame):
			e.log.Error("geo database cannot be read; what was read before stays", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// locate fills in where an address is.
func (f *fact) locate(databases []*geo, a netip.Addr) {
	for _, g := range databases {
		var p place
		if err := g.reader.Lookup(a).Decode(&p); err != nil {
			continue // a damaged record is no reason to stop
		}
		if f.country == "" && len(p.Country.ISO) <= 8 && p.Country.ISO != "" {
			f.country, f.geoNote = p.Country.ISO, g.note
		}
		if f.asn == 0 && p.ASN != 0 {
			f.asn, f.asnNote = p.ASN, g.note
		}
	}
}
