// Package sigma holds the tables that translate Sigma's taxonomy: which events
// a logsource means, and which columns its fields are.
//
// A file has logsources, and groups of fields that several of them use. A
// logsource has category, product and service as rules write them; class,
// family and sources (ids of schemas/sources) say which events it means, and
// when is a further condition on them. fields translates: a name in Sigma to a
// column, or to several if the field may be in any of them. A field that is not
// listed is read under unmapped by the name that it has.
package sigma

import "embed"

// FS holds the tables.
//
//go:embed *.yaml
var FS embed.FS
