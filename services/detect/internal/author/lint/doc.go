// Package lint finds what is wrong with rules that load: conditions that can
// never hold or always do, parts that say nothing, rules that another covers,
// missing tests, exceptions that are over, tags that do not fit, sources that
// nothing feeds, and what costs.
//
// What it says about logic is sound, not complete: it reasons about atoms of
// the same field, so what it reports is so, and what it does not may be too.
package lint
