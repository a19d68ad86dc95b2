// Package verify proves that the flows of a network do what its policy means.
//
// The packets that can come in by a port are cut into parts that the policy does
// not tell apart: by source and destination as the subnets, records and routes
// have them, by TTL, by kind of message. Package oracle says what should become
// of each part, asked with one packet of it. Each part is then walked through
// the tables as a whole: bits that are not known stay open, and where a flow
// takes some of the packets only, the walk goes on with both halves. What comes
// out is held to what is wanted as a function of what came in. So nothing is
// sampled, and any flows can be judged, also foreign ones and odd masks; flows
// that package flow cannot express make unproved what meets them.
//
// What VMs of one subnet on one host send is proved once for all of them, from
// table route on, and what peers send from table tunnel-vsid on. Where flows do
// make a difference between them, each is proved by itself. Tables that are alike
// on several hosts are indexed once.
//
// A counterexample is reported only if package sim, which walks single packets,
// confirms it.
//
// What a switch does by itself no policy means: packets that meet a flow which lets
// the bridge switch normally, floods them or hands them to the host are
// counterexamples, whatever the bridge has learned. What goes to a controller goes
// nowhere.
//
// The model has limits: the underlay is IPv4 and delivers.
package verify
