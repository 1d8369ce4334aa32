// Package sigma loads Sigma 2.1 rules, correlations and filters and turns them
// into rules of the hub.
//
// A document is parsed strictly (parse.go, detection.go, condition.go), its
// fields are translated by the tables of schemas/sigma (tables.go), and its
// detection becomes the text of an expression (express.go, atom.go), which is
// compiled like the condition of any other rule. The specification followed is
// SigmaHQ/sigma-specification, version 2.1.0 of 2025-08-02.
package sigma
