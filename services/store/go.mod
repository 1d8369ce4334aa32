module github.com/vagus-hub/vagus/services/store

go 1.26.0

require (
	github.com/vagus-hub/vagus/schemas v0.0.0
	github.com/vagus-hub/vagus/services/internal v0.0.0
)

replace github.com/vagus-hub/vagus/schemas => ../../schemas

replace github.com/vagus-hub/vagus/services/internal => ../internal
