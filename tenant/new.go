package tenant

import "fmt"

// New checks spec and returns it as a policy, with the number revision. If
// anything is wrong it returns no policy and every problem there is.
func New(spec Spec, revision uint64) (*Policy, []Problem) {
	c := checkSpec(&spec)
	if path, unread := firstUnread(&spec); unread && len(c.problems) == 0 {
		c.add(path, "could not be read: want a readable value")
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	c.revision = revision
	return c.Policy, nil
}

// Check reports everything that keeps spec from being a policy, in the order of
// the policy file's nesting. It reports nothing that hangs on an unread field.
func Check(spec Spec) []Problem { return checkSpec(&spec).problems }

// checkSpec puts all of spec into an empty policy.
func checkSpec(spec *Spec) *checker {
	c := newChecker(Empty(), false)
	c.hostsKnown = !spec.Unread.Has(FieldHosts)
	c.pasKnown = c.hostsKnown
	c.gatewayMACKnown = !spec.Unread.Has(FieldGatewayMAC)
	if !spec.Unread.Has(FieldVersion) && spec.Version != 1 {
		if spec.Version == 0 {
			c.add("version", "is missing: want version: 1")
		} else {
			c.add("version", fmt.Sprintf("%d is not a version of the policy file that this program knows: want 1", spec.Version))
		}
	}
	if spec.GatewayMAC != (MAC{}) {
		c.putGatewayMAC("gateway_mac", spec.GatewayMAC)
	}
	for i := range spec.Hosts {
		c.putHosts = append(c.putHosts, &spec.Hosts[i])
	}
	records := 0
	for i := range spec.RoutingDomains {
		d := &spec.RoutingDomains[i]
		w := &domainWork{spec: d, rdid: d.RDID, routes: d.Routes, subnets: make([]*subnetWork, len(d.Subnets))}
		subnets := make([]subnetWork, len(d.Subnets))
		for j := range d.Subnets {
			s := &d.Subnets[j]
			subnets[j] = subnetWork{spec: s, vsid: VSID(s.VSID), records: s.Records}
			w.subnets[j] = &subnets[j]
			records += len(s.Records)
		}
		c.work = append(c.work, w)
	}
	c.made = make([]*record, 0, records)
	c.ifaceClaims = make(claims, 0, records)
	c.put()
	return c
}

func (c *checker) putGatewayMAC(path string, m MAC) {
	c.gatewayMAC = m
	if m[0]&1 != 0 {
		c.add(path, fmt.Sprintf("MAC %s is a group (multicast) address: want a unicast address", m))
	}
}

// firstUnread returns the path of an object with unread fields.
func firstUnread(spec *Spec) (path string, unread bool) {
	if spec.Unread != 0 {
		return "policy", true
	}
	for i := range spec.Hosts {
		if spec.Hosts[i].Unread != 0 {
			return hostPath(i), true
		}
	}
	for i := range spec.RoutingDomains {
		d := &spec.RoutingDomains[i]
		if d.Unread != 0 {
			return domainPath(i), true
		}
		for j := range d.Routes {
			if d.Routes[j].Unread != 0 {
				return routePath(i, j), true
			}
		}
		for j := range d.Subnets {
			s := &d.Subnets[j]
			if s.Unread != 0 {
				return subnetPath(i, j), true
			}
			for k := range s.Records {
				if s.Records[k].Unread != 0 {
					return recordPath(i, j, k), true
				}
			}
		}
	}
	return "", false
}
