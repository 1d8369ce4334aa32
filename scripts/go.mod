module github.com/vagus-hub/vagus/scripts

go 1.26.0

require (
	github.com/goccy/go-yaml v1.19.2
	github.com/vagus-hub/vagus/schemas v0.0.0
)

replace github.com/vagus-hub/vagus/schemas => ../schemas
