// Package flowset has sets of encoded flows as immutable snapshots: what hosts
// share is held once, and the difference of two costs what differs.
package flowset
