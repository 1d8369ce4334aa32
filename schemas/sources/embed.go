// Package sources embeds the sources that the hub understands: a folder each,
// <vendor>.<product>, with mapping.yaml, a README for who sends the logs, and
// recorded samples in testdata.
package sources

import "embed"

// FS holds <vendor>.<product>/mapping.yaml and <vendor>.<product>/testdata.
//
//go:embed */mapping.yaml */testdata
var FS embed.FS
