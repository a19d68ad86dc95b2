// Package openflow is the controller's side of one OpenFlow 1.3 connection to
// an Open vSwitch bridge. A [Session] keeps the connection alive, sends flows
// in bundles that are applied as a whole or not at all, names the very flow
// that a switch refused, reads flows back without holding a table in memory,
// and fences itself against other controllers by OpenFlow's roles.
//
// What is sent often (flow-mods) is encoded by hand; a test proves it identical
// to what libOpenflow makes of the same flow, octet by octet. What is sent
// rarely is encoded by libOpenflow. What is read is decoded by this package,
// since a switch relays packets that a tenant wrote: the decoder checks every
// length, never panics and allocates no more than a message's own size.
//
// Registers. Open vSwitch reports a match on a 64- or 128-bit register in
// OpenFlow 1.3 as matches on the 32-bit registers inside it. So that a flow that
// is read back equals the one that was sent, matches are on 32-bit registers
// only, here and in package flows: one on a wider register is refused before
// it is sent. Actions may write to wide registers; those come back as they are.
package openflow
