// Package explain tells what becomes of a packet, and what a flow is for, in the
// tenant's words: which flow of which table decided, to whom it belongs, where
// the policy has that, and what the policy intends instead.
//
// Packets are walked by package sim, the intention is that of package oracle.
// What the model of the switch does not know, such as normal switching, is told
// as such and never as a drop.
package explain
