// Package mapping turns records of one source into events of the schema, as a
// mapping.yaml says. A mapping is compiled once: an unknown column, a wrong
// type or an unknown transform is an error with line and column. Running it
// walks each record once and writes straight into columns; what the mapping
// does not place is kept under unmapped.
//
// The language is described in docs/mappings.md.
package mapping
