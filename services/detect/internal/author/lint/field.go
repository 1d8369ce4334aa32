package lint

import (
	"github.com/vagus-hub/vagus/schemas/event"
	"github.com/vagus-hub/vagus/services/detect/internal/lang"
)

func sameField(a, b *lang.Node) bool { return a.Field == b.Field }

func kind(n *lang.Node) event.Kind { return n.Kind() }

func path(n *lang.Node) string { return n.Path() }
