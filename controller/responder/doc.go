// Package responder says what the answerers below it have in common: what they
// know of a VM, and why they do not answer.
//
// An answerer is a pure function: the octets of a frame that a VM sent and a
// [VM] in, the octets of the frame to give to the VM's port out, or a [Reason].
// It does no I/O and holds no state. It never panics, whatever the frame is.
package responder
