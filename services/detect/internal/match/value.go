package match

import (
	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
	"github.com/vagus-hub/vagus/services/internal/block"
)

// Value copies a row's value as text, as alerts show it; "" if it is absent.
// Items of a list are separated by commas; of a map there is no text.
func Value(b *block.Block, id event.ColumnID, row int) string { return value(b, id, row) }

// FieldValue is Value of a column or of a key of unmapped.
func FieldValue(b *block.Block, f lang.Field, row int) string { return fieldValue(b, f, row) }
