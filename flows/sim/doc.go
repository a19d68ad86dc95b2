// Package sim is a model of the switch and of the network of switches. It walks
// packets through flow tables as data, as Open vSwitch does, and says where they
// come out, what was rewritten, and which flows they met. It needs neither root
// nor Open vSwitch.
//
// The model knows nothing of what the tables are for: a [Switch] takes any flows
// that package flow can express, and refuses those that Open vSwitch refuses. A
// [Network] joins switches by their tunnels. Tests hold the model to real
// switches (ofproto/trace), and the compiled flows to package oracle.
package sim
