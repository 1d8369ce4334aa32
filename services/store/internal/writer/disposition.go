package writer

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/vagus-hub/vagus/schemas/finding"
	"github.com/vagus-hub/vagus/services/internal/block"
	"github.com/vagus-hub/vagus/services/internal/bus"
	"github.com/vagus-hub/vagus/services/store/internal/native"
)

var dispositionColumns = []string{
	"alert", native.String, "rule", native.String, "verdict", native.String, "note", native.String, "by", native.String, "at", native.Time,
}

// buildDisposition takes an analyst's verdict on an alert.
func buildDisposition(b *batch, r bus.Record) error {
	var d finding.Disposition
	if err := json.Unmarshal(r.Data, &d); err != nil {
		return fmt.Errorf("read disposition: %w", err)
	}
	if d.Alert == "" || d.At.IsZero() {
		return errors.New("read disposition: no alert or no time")
	}
	t := native.New(dispositionColumns...)
	if err := t.Add(d.Alert, d.Rule, string(d.Verdict), d.Note, d.By, d.At); err != nil {
		return fmt.Errorf("read disposition: %w", err)
	}
	at := d.At.UnixMilli()
	b.put("alert_dispositions", item{r.Seq, d.Rule, 1, block.Plain(t.Append(nil)), r.Data, at, at})
	return nil
}
