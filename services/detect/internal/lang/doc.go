// Package lang is the expression language of rules: it checks an expression
// against the event schema, lowers it to a small tree of predicates over
// columns, and derives from that tree the literals that every match must hold.
//
// The language is expr-lang over dotted schema paths plus the functions in
// funcs.go. The semantics are those of evaluating the expression with expr's
// own virtual machine; the lowered tree is only a faster way to the same answer.
package lang
