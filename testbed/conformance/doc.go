// Package conformance says, row by row, what RFC 7637 (NVGRE) and Hyper-V Network
// Virtualization (HNV) ask for, and holds each row to a test on real Open vSwitch
// that reads real frames. docs/CONFORMANCE.md is generated from the rows.
//
// To add a row: a literal in the file of its topic, and a function beside it that
// tests it. A row without a test is one that is not done, and says why. One topic
// is one file; a new one is listed in topics_test.go. Then `go generate
// ./testbed/conformance`, and `make conformance ROW=name` runs one row alone.
package conformance

//go:generate go test -run ^TestDocument$ . -update
