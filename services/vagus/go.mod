module github.com/vagus-hub/vagus/services/vagus

go 1.26.0

require (
	github.com/vagus-hub/vagus v0.0.0
	github.com/vagus-hub/vagus/schemas v0.0.0
	github.com/vagus-hub/vagus/services/detect v0.0.0
	github.com/vagus-hub/vagus/services/ingest v0.0.0
	github.com/vagus-hub/vagus/services/internal v0.0.0
	github.com/vagus-hub/vagus/services/normalize v0.0.0
	github.com/vagus-hub/vagus/services/respond v0.0.0
	github.com/vagus-hub/vagus/services/store v0.0.0
)

require (
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/vagus-hub/vagus/schemas => ../../schemas

replace github.com/vagus-hub/vagus/services/internal => ../internal

replace github.com/vagus-hub/vagus/services/ingest => ../ingest

replace github.com/vagus-hub/vagus/services/normalize => ../normalize

replace github.com/vagus-hub/vagus/services/detect => ../detect

replace github.com/vagus-hub/vagus/services/respond => ../respond

replace github.com/vagus-hub/vagus/services/store => ../store

replace github.com/vagus-hub/vagus => ../..
