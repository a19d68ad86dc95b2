// Package dbserver is an OVSDB server in memory, small enough that one process
// holds thousands: each simulated host of a fleet has one.
//
// It answers what clients of ovsdb-server(1) ask for the Open_vSwitch database
// (RFC 7047 and ovsdb-server(7)): list_dbs, get_schema, transact with every
// operation but blocking waits and locks, monitor, monitor_cond and
// monitor_cond_since without conditions that filter rows, monitor_cancel, echo.
// Types, ranges, sizes, unique names, immutable columns and references are
// checked; rows of tables that are no root go when nothing refers to them. Weak
// references are not followed: only mirrors have them.
//
// The schema is Open vSwitch's own, given by the caller. A real client is the
// judge of it: the tests run ovs-vsctl(8) and package ovsdb against it.
package dbserver
