// Package reconcile makes a switch hold the flows that it should hold, and
// nothing else of ours.
//
// [Plan] is pure: what a switch holds and what it should hold in, the changes
// out. [Driver] runs the loop for one host: connect, read everything back, send
// the difference as one bundle, remember what is there, send further
// differences as they come, and begin again when the connection ends.
//
// What a switch holds is remembered as the snapshot that it confirmed, which
// other hosts share, and the exceptions from it: flows that were refused, kept
// or blocked ([Actual]). So a plan costs what changes, and a host costs what is
// peculiar to it. A read-back is compared as it arrives, and only what differs
// from the wanted is kept.
//
// After an outage the sentinel decides: where it is the one that the driver saw
// confirmed last, by revision, by age and on the same datapath, only the
// difference since then is sent; else, and always where the outcome of a commit is
// unknown, everything is read back. Flows that somebody else removed by hand
// during the outage are found by the next audit only.
//
// While the connection lives, a switch with a flow monitor tells what others do
// to its flows: what touches ours is looked into and repaired at once, or after
// growing pauses where somebody does it again and again. A few changed entries are
// asked for by their cookies, whatever else the switch holds; many lead to a
// read-back. Other switches are
// read back at each audit. What was found is reported ([Drift]). While
// thousands of flows are sent the monitor rests; what others change in that time
// is found by the next read-back.
//
// Only flows that carry our cookie mark (flows.CookieMark) are ever changed or
// removed. OpenFlow replaces a flow of the same table, priority and match
// whoever owns it, so the read-back covers foreign flows too: a wanted flow
// whose place a foreign one has is left out and reported ([Blocked]) instead of
// overwriting it. Between two read-backs somebody may still put a flow into a
// place that we take afterwards; the protocol offers no guard against that
// (OFPFF_CHECK_OVERLAP refuses our own overlapping flows as well).
package reconcile
