// Package clickhouse embeds the numbered SQL that makes the tables. The files
// run in order; each statement may run again without harm. {ttl_NAME_days} is
// replaced by the store's configuration.
package clickhouse

import "embed"

// Files holds NNNN_name.sql.
//
//go:embed *.sql
var Files embed.FS
