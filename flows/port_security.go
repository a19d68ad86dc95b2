package flows

import (
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

var portSecurity = Table{
	ID:      tablePortSecurity,
	Name:    "port-security",
	Purpose: "Lets a VM send only what its lookup record says is its own: source MAC, source CA, and ARP requests in its own name. Each VM has drop flows of its own, so that their counters name the offender.",
	Matches: fields(flow.InPort, flow.EthType, flow.EthSrc, flow.IPv4Src, flow.ARPOp, flow.ARPSPA, flow.ARPTPA, flow.ARPSHA),
	Next:    []uint8{tableRoute},
	Miss:    "drop: the port has no lookup record",
}

const (
	prioSecurityOwnARP   = 110
	prioSecurityAllow    = 100
	prioSecuritySender   = 50
	prioSecurityProtocol = 40
	prioSecurityMAC      = 30
)

func portSecurityFlows(b *builder, r *tenant.LookupRecord, ofport uint32) {
	o := recordOwner(r)
	port := inPort(ofport)
	mac := flow.Uint(r.MAC.Uint64())
	from := flow.Exact(flow.EthSrc, mac)
	address := flow.Addr(r.CA.Addr())
	own := flow.Exact(flow.ARPSPA, address)
	// RFC 5227 section 2.1.1: a probe has no sender address.
	probe := flow.Exact(flow.ARPSPA, flow.Uint(0))
	sha := flow.Exact(flow.ARPSHA, mac)
	request := flow.Exact(flow.ARPOp, flow.Uint(1))
	forOwn := flow.Exact(flow.ARPTPA, address)

	b.add(&portSecurity, prioSecurityAllow, o.cookie(),
		b.match(port, from, isIPv4, flow.Exact(flow.IPv4Src, address)), flow.Goto(tableRoute))
	for _, sender := range []flow.Test{own, probe} {
		b.add(&portSecurity, prioSecurityOwnARP, o.drop(DropARPOwn),
			b.match(port, from, isARP, request, sha, sender, forOwn))
		b.add(&portSecurity, prioSecurityAllow, o.cookie(),
			b.match(port, from, isARP, request, sha, sender), flow.Goto(tableRoute))
	}
	b.add(&portSecurity, prioSecuritySender, o.drop(DropSourceCA), b.match(port, from, isIPv4))
	b.add(&portSecurity, prioSecuritySender, o.drop(DropARPSender), b.match(port, from, isARP))
	b.add(&portSecurity, prioSecurityProtocol, o.drop(DropProtocol), b.match(port, from))
	b.add(&portSecurity, prioSecurityMAC, o.drop(DropSourceMAC), b.match(port))
}
