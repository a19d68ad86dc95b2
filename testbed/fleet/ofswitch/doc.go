// Package ofswitch simulates the OpenFlow side of a bridge of Open vSwitch: it
// speaks OpenFlow 1.3 with bundles (ONF EXT-230), keeps flows and forwards
// nothing.
//
// It shares no code with the controller, so that each is a check of the other,
// and it is itself checked: its tests send the same octets to a real
// ovs-vswitchd and compare replies, errors and flow tables. What is simulated,
// it does as Open vSwitch 3.1 does:
//
//   - flow-mods: add, modify, modify-strict, delete, delete-strict, with the
//     filters by table, cookie, port and group, CHECK_OVERLAP, and the checks of
//     matches, instructions and the commonest actions
//   - bundles: atomic, with the checks at each step, naming the refused message
//   - roles: generations that outlive connections, and refused slaves
//   - hello, echo, features, configuration, barriers, and the multipart requests
//     description, flows, aggregate, tables and port description
//
// One difference is known: in Open vSwitch 3.1 a delete or modify without
// "strict", and a check for overlaps, can overlook a flow that the same bundle
// has added before. Here it is found, as the order of a bundle says.
//
// Everything else is refused as an unknown message is. A flow's counters and its
// age are always zero: there are no packets, and a controller that decides by
// age is better tested on a real switch. Timeouts are kept and never expire. The
// asynchronous messages (packet-in, flow-removed, port-status) are not sent.
//
// Switches that share a [Pool] hold a flow that many of them have only once, so
// that a thousand switches with ten thousand flows each fit in memory.
package ofswitch
