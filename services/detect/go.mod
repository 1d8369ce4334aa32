module github.com/vagus-hub/vagus/services/detect

go 1.26.0

require (
	github.com/vagus-hub/vagus/schemas v0.0.0
	github.com/vagus-hub/vagus/services/internal v0.0.0
)

require (
	github.com/expr-lang/expr v1.17.8 // indirect
	github.com/goccy/go-yaml v1.19.2 // indirect
	github.com/google/go-cmp v0.7.0 // indirect
	github.com/inconshreveable/mousetrap v1.1.0 // indirect
	github.com/klauspost/cpuid/v2 v2.2.10 // indirect
	github.com/spf13/cobra v1.10.2 // indirect
	github.com/spf13/pflag v1.0.9 // indirect
	github.com/zeebo/xxh3 v1.1.0 // indirect
	go.uber.org/goleak v1.3.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/vagus-hub/vagus/schemas => ../../schemas

replace github.com/vagus-hub/vagus/services/internal => ../internal
