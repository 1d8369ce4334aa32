// Package lsp is the language server of rules: diagnostics, completion, hover,
// outline and quick fixes in any editor that speaks the Language Server
// Protocol (https://microsoft.github.io/language-server-protocol, 3.17) over
// standard input and output.
//
// A file is hostile and half typed. Diagnostics come from the loader and the
// linter; everything else works from a tolerant scan of the text, so that it
// goes on where the YAML is broken.
package lsp
