// Package ha shares the hosts out among controllers by leases in etcd, and lets
// the controllers tell each other what they see.
//
// # Who drives a host
//
// Each controller is a member of a [Group]: a key under a lease. A host belongs
// to the member that rendezvous hashing gives it, so that a member that goes
// moves only its own hosts and one that comes takes only its share. The host is
// that member's from the moment when the member has created the host's
// ownership key, under the same lease; an owner that is no longer the host's
// member stops driving it first and deletes the key then. All of consensus,
// election and expiry is etcd's.
//
// Keys below the prefix, host names escaped as in a URL's path:
//
//	group/epoch                  milliseconds, 20 digits: see Generations
//	group/members/NAME           under the member's lease
//	group/owners/HOST            the member's name, under its lease
//	board/attachments/HOST/ID    no lease: placement outlives a controller
//	board/status/HOST            under the owner's lease
//	board/progress/NAME          under the member's lease
//
// # Order of calls
//
// [New] with a [Driver], [NewBoard] of the group, [Group.SetHosts] with the
// policy's hosts, then [Group.Run] and [Board.Run], each in a goroutine. The
// client is closed after both have returned; end Group.Run first, so that the
// drivers that it stops may still publish. Compile nothing before
// [Board.Synced]. On Acquire: connect, claim the switch with the tenure's
// generation, read the OVSDB, then [Board.PublishAttachments] with all that is
// there, and again with all of it at each change; never before the OVSDB was
// read, since what is missing is deleted. Ask [Tenure.Valid] before each write to
// the switch or the OVSDB. On Lose: return after the last write's barrier or the
// end of the session. When a host is gone from the policy: SetHosts without it,
// then [Board.Forget].
//
// # Generations
//
// Each tenure has a generation for the OpenFlow role (OpenFlow 1.3.5 section
// 6.3.5): (epoch << 20) + the etcd revision of the claim. Revisions grow within
// one history of etcd. The epoch is raised to the time of the clock, or by one,
// whenever a member joins, and is read in the claim's own transaction: so
// generations also grow when etcd has been restored from a backup and when the
// controllers have worked from a policy file in between, which uses Unix
// milliseconds << 20. A switch refuses a generation below the greatest that it
// has seen; both are compared as a signed difference.
//
// # When etcd does not answer
//
// A member cannot tell the loss of etcd's quorum, when nobody can claim
// anything and leases do not run out, from its being cut off, when the others
// take its hosts. So it does what is safe in both: before the lease can run out
// (counted on the monotonic clock from the moment when the last renewal that
// succeeded was asked for, less a fifth of the lease's time), all its tenures
// become invalid and it freezes its hosts. A frozen host keeps its sessions and
// all its flows, nothing is flushed, packets go on; but nothing is written to
// it, not even what its own OVSDB reports. When etcd answers again and the
// lease has lived, which it does through a loss of quorum (a new leader of etcd
// gives every lease its whole time again), the same tenures go on at once. When
// it has run out, the hosts are lost and claimed anew with greater generations.
//
// A process that was stopped (SIGSTOP) and wakes finds its tenures invalid at
// the first look at the clock ([Tenure.Valid]); what it had already handed to
// the kernel, the switch refuses by its role, because the next owner has claimed
// the switch with a greater generation.
//
// # Times
//
// etcd grants no lease below ceil(1.5 × its election timeout) seconds: 2 s by
// default, 1 s with an election timeout of at most 666 ms (--election-timeout
// and --heartbeat-interval, embed.Config.ElectionMs and TickMs). It looks for
// leases that have run out every 500 ms. A member that dies is therefore missed
// between 2/3 TTL and TTL + 0.5 s after its death: with TTL 1 s its hosts have
// new owners within 1.5 s and the time of two transactions. Where etcd's leader
// dies at the same moment, its election and a whole new TTL plus the election
// timeout come on top.
//
// After a restore of etcd from a backup, restart the controllers, or restore
// with etcdutl's --bump-revision and --mark-compacted.
package ha
