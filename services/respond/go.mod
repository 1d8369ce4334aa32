module github.com/vagus-hub/vagus/services/respond

go 1.26.0

require (
	github.com/expr-lang/expr v1.17.8
	github.com/goccy/go-yaml v1.19.2
	github.com/google/go-cmp v0.7.0
	github.com/spf13/cobra v1.10.2
	github.com/vagus-hub/vagus/schemas v0.0.0
	github.com/vagus-hub/vagus/services/internal v0.0.0
	go.uber.org/goleak v1.3.0
)

replace github.com/vagus-hub/vagus/schemas => ../../schemas

replace github.com/vagus-hub/vagus/services/internal => ../internal
