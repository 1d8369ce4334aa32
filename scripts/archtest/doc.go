// Package archtest holds the architecture of the repository as tests: who may
// import whom, what every package and module must have, and that the documents
// point at what exists. It has no code of its own; each rule gives its reason
// when it fails.
package archtest
