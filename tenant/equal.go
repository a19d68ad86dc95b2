package tenant

import "slices"

// Equal reports whether p and q want the same, whatever their revisions and
// wherever their objects were read from.
func (p *Policy) Equal(q *Policy) bool {
	return p.gatewayMAC == q.gatewayMAC &&
		slices.EqualFunc(p.hosts, q.hosts, func(a, b Host) bool {
			return a.Name == b.Name && a.OVSDB == b.OVSDB && a.OpenFlow == b.OpenFlow &&
				slices.Equal(a.ProviderAddresses, b.ProviderAddresses)
		}) &&
		slices.EqualFunc(p.domains, q.domains, func(a, b RoutingDomain) bool {
			a.Source, b.Source = Position{}, Position{}
			return a == b
		}) &&
		slices.EqualFunc(p.subnets, q.subnets, func(a, b VirtualSubnet) bool {
			return a.VSID == b.VSID && a.RDID == b.RDID && a.Name == b.Name &&
				slices.Equal(a.Prefixes, b.Prefixes) && slices.Equal(a.Gateways, b.Gateways)
		}) &&
		slices.EqualFunc(p.records, q.records, func(a, b LookupRecord) bool {
			a.Source, b.Source = Position{}, Position{}
			return a == b
		}) &&
		slices.EqualFunc(p.routes, q.routes, func(a, b CustomerRoute) bool {
			a.Source, b.Source = Position{}, Position{}
			return a == b
		})
}
