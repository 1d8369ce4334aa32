// Package vagus embeds the content that the binary ships with: detection
// rules, playbooks and connectors. They are data; users override them by
// pointing the services at their own folders.
package vagus

import "embed"

// Rules holds rules/<domain>/<slug>.yml.
//
//go:embed rules
var Rules embed.FS

// Playbooks holds playbooks/<domain>/<slug>.yml and playbooks/connectors.
//
//go:embed playbooks
var Playbooks embed.FS
