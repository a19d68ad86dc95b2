// Package ovsdb looks after one host's Open_vSwitch database: it sees to it that
// the bridge, the gre ports and the listener that NVGRE needs are there, and
// reports which VMs are attached.
//
// # Whose rows
//
// Every row that this package makes carries the key [Label] in its external_ids.
// A row without it belongs to somebody else and is never changed or deleted,
// save for one key of one's own: nvgre-installed of an attachment. In our own
// rows too, only the columns and keys that we need are written, so settings that
// an operator adds stay.
//
// # Why not libovsdb's client
//
// The schema, row models, operations and update notifications are those of
// libovsdb. Its client package (v0.8.1) is not used, because:
//
//   - A host is less trusted than the controller of all hosts, and libovsdb
//     panics on some JSON that is no valid OVSDB (an empty array where a set is
//     expected), in a goroutine of its own where nobody can recover. Here such a
//     panic ends the one connection.
//   - Its reconnection reports an outage neither by Connected nor by
//     DisconnectNotify, serves stale rows without an error meanwhile, blocks
//     transactions, ignores Close, and after recovery tells of no deletion. Here a
//     connection lives once: it begins with the whole contents of the monitored
//     columns and ends with its first error; [Host.Run] makes the next one.
//   - Its cache applies an update row by row, so a reader can see an interface
//     without its port, and hands events to a queue that drops them when full and
//     that costs 512 KiB for each host. Here one notification is applied as a
//     whole, and there is no queue: a reader is woken and looks at the rows.
package ovsdb
