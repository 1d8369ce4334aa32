package embedded

import (
	"context"
	"log/slog"

	"github.com/vagus-hub/vagus/services/internal/clickhouse/embedded/internal/chhttp"
)

// startTrimmer does nothing here.
func startTrimmer(context.Context, *chhttp.Handler, *slog.Logger) (stop func()) { return func() {} }
