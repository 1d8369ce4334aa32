// Package jsonschema holds the JSON Schemas of the files that people write.
package jsonschema

import _ "embed" // the schemas

// Rule is the schema of detection rules.
//
//go:embed rule.schema.json
var Rule []byte
