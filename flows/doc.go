// Package flows is the pipeline: it turns a tenant.Policy and what one host
// looks like into the OpenFlow flows that the host's switch should hold.
//
// It is pure: no I/O, no clock, no goroutine. Each table of the pipeline has a
// file of its own, with the declaration of what the table may match, set and go
// to, and the functions that make its flows; [Pipeline] lists them. What a
// declaration does not allow never reaches a switch. docs/PIPELINE.md is
// rendered from the declarations by [Manual].
package flows

//go:generate go test . -run TestManual -update
