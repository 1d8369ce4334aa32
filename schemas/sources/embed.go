// Package sources embeds the sources that the hub understands: a folder each,
// <vendor>.<product>, with mapping.yaml, a README for who sends the logs, and
// recorded samples in testdata.
package sources

import "embed"

// FS holds <vendor>.<product>/mapping.yaml, <vendor>.<product>/testdata, and
// _fragments/<name>.yaml: what several mappings share.
//
//go:embed */mapping.yaml */testdata/* _fragments/*.yaml
var FS embed.FS
