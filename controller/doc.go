// Package controller is the daemon: it reads the policy, watches the hosts'
// databases, and keeps every host's switch at the flows that the two amount to.
//
// One goroutine, the loop, owns all decisions. Around it each host has four: one
// holds the connection to its OVSDB, one sees to its configuration, one holds
// the connection to its switch (package reconcile), one passes news of it on.
// They tell the loop only that something has changed; the loop then looks at
// what is. A host that does not answer therefore delays nobody, and a turn of the
// loop costs what has happened, not what there is: package calc keeps what every
// host should hold, and says which hosts a change concerns.
//
// The policy comes from a file (policyWatcher) or from the store (storeSource).
// With the store, package ha decides which hosts are this daemon's to drive; what
// is attached to the others comes from its board.
//
// What keeps packets flowing while the controller knows less than the switches:
//
//   - No switch is touched before a policy is in force, the host's own database
//     has been read, and every host's database has answered or the placement
//     grace is over.
//   - A database that goes away leaves what it said in force.
//   - While a host's database has never answered, a flow to a VM that only that
//     host can place is kept: the switch may know better than we do.
//   - A policy file that is not valid as a whole changes nothing.
//   - The end of the daemon closes connections and touches no flow.
package controller
