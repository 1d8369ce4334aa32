// Package shippers holds the tests that drive package bulk with real shippers.
// They are apart from it because Elastic's client is large: fuzzing package
// bulk would compile it anew, for minutes.
package shippers
