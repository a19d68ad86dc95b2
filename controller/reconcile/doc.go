// Package reconcile makes a switch hold the flows that it should hold, and
// nothing else of ours.
//
// [Plan] is pure: what a switch holds and what it should hold in, the changes
// out. [Driver] runs the loop for one host: connect, read everything back, send
// the difference as one bundle, remember what is there, send further
// differences as they come, and begin again when the connection ends.
//
// Only flows that carry our cookie mark (flows.CookieMark) are ever changed or
// removed. OpenFlow replaces a flow of the same table, priority and match
// whoever owns it, so the read-back covers foreign flows too: a wanted flow
// whose place a foreign one has is left out and reported ([Blocked]) instead of
// overwriting it. Between two read-backs somebody may still put a flow into a
// place that we take afterwards; the protocol offers no guard against that
// (OFPFF_CHECK_OVERLAP refuses our own overlapping flows as well).
package reconcile
