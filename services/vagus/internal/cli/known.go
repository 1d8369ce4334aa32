package cli

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/internal/near"
)

// didYouMean ends a message with the name that is nearest to what was written.
func didYouMean(written string, names []string) string {
	if n := near.Of(written, names); n != "" {
		return ": did you mean " + n + "?"
	}
	return ""
}

// unknownSource is the error of a source that no mapping is for and that no
// stored event has, nil if there is such a source.
func (a *app) unknownSource(ctx context.Context, source string) error {
	feeds, err := a.authors().Feeds()
	if err != nil {
		return err
	}
	var names []string
	for _, f := range feeds {
		names = append(names, f.Source)
	}
	if slices.Contains(names, source) {
		return nil
	}
	// The hub may have mappings that this program does not know.
	var stored bytes.Buffer
	if err := a.query(ctx, "SELECT DISTINCT source FROM events", "TSV", nil, &stored); err != nil {
		return err
	}
	if names = append(names, strings.Fields(stored.String())...); slices.Contains(names, source) {
		return nil
	}
	return fmt.Errorf("--source %s: no mapping is for this source and no stored event is of it%s (`vagus sources list` names them)", source, didYouMean(source, names))
}

// checkFamily refuses a family that there is none of; "" is any.
func checkFamily(family string) error {
	if _, ok := event.FamilyByName(family); ok || family == "" {
		return nil
	}
	return fmt.Errorf("unknown family %s%s (one of %s)", family, didYouMean(family, event.FamilyNames[:]), strings.Join(event.FamilyNames[:], ", "))
}
