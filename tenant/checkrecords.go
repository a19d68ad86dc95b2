package tenant

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// records checks the lookup records of one subnet. It runs for every record of
// the policy: a sound record costs its map entries and nothing else.
func (c *domainChecker) records(j int) {
	s := &c.spec.Subnets[j]
	c.bases = append(c.bases, recordBase{subnetRef{c.d, j}, c.count})
	macs := make(map[MAC]int, len(s.Records))
	for k := range s.Records {
		r := &s.Records[k]
		n := c.count
		c.count++
		c.recordVM(r, n)
		c.recordIface(r, n)
		c.recordCA(r, n, j)
		c.recordMAC(r, n, macs)
		c.recordPlace(r, n)
	}
}

func (c *domainChecker) recordVM(r *RecordSpec, n int) {
	if r.Unread.Has(FieldVM) {
		return
	}
	if m := nameProblem("the VM's name", r.VM, MaxName); m != "" {
		c.add(c.recordPath(n)+".vm", m)
		return
	}
	if first, taken := c.vms[r.VM]; taken {
		c.add(c.recordPath(n)+".vm", fmt.Sprintf("VM %q is in the routing domain already: want a name of its own for each VM", r.VM),
			c.recordPath(first)+".vm")
		return
	}
	c.vms[r.VM] = n
}

func (c *domainChecker) recordIface(r *RecordSpec, n int) {
	id := r.IfaceID
	if id == "" {
		id = r.VM
		// A twin in this routing domain is reported as a VM given twice.
		if id == "" || r.Unread.Has(FieldIfaceID) || c.vms[id] != n {
			return
		}
	} else if m := nameProblem("the iface-id", id, MaxName); m != "" {
		c.add(c.recordPath(n)+".iface_id", m)
		return
	}
	first, taken := c.ifaces[id]
	switch {
	case !taken:
		c.ifaces[id] = n
	case r.IfaceID == "":
		c.add(c.recordPath(n)+".iface_id", fmt.Sprintf("iface-id %q, which is the VM's name where none is given, is taken: set iface_id to a value of its own in the policy", id),
			c.recordPath(first))
	default:
		c.add(c.recordPath(n)+".iface_id", fmt.Sprintf("iface-id %q is taken: set iface_id to a value of its own in the policy", id),
			c.recordPath(first))
	}
}

func (c *domainChecker) recordCA(r *RecordSpec, n, j int) {
	if r.Unread.Has(FieldCA) {
		return
	}
	if m := addrProblem("CA", r.CA.addr); m != "" {
		c.add(c.recordPath(n)+".ca", m)
		return
	}
	if m, related := c.caProblem(r.CA, j); m != "" {
		c.add(c.recordPath(n)+".ca", m, related...)
		return
	}
	if first, taken := c.cas[r.CA]; taken {
		c.add(c.recordPath(n)+".ca", fmt.Sprintf("CA %s is taken by another record of the routing domain: want an address of its own for each VM", r.CA),
			c.recordPath(first)+".ca")
		return
	}
	c.cas[r.CA] = n
}

// caProblem says why a record of subnet j cannot have that address, or "".
func (c *domainChecker) caProblem(ca CA, j int) (message string, related []string) {
	s := &c.spec.Subnets[j]
	k := slices.IndexFunc(s.Prefixes, func(p CAPrefix) bool { return p.Contains(ca) })
	if k < 0 {
		if !c.subnetKnown[j] {
			return "", nil
		}
		if e, ok := c.prefixes.lookup(ca.addr); ok {
			return fmt.Sprintf("CA %s is outside the subnet's %s: want an address in it, or the record in subnet %s", ca, listPrefixes(s.Prefixes), c.subnetName(e.subnet)),
				[]string{prefixPath(c.d, e.subnet, e.index)}
		}
		return fmt.Sprintf("CA %s is outside the subnet's %s: want an address in it", ca, listPrefixes(s.Prefixes)),
			[]string{subnetPath(c.d, j) + ".prefixes"}
	}
	if m := edgeProblem("CA", ca, s.Prefixes[k]); m != "" {
		return m, nil
	}
	if c.gateways[ca] {
		return fmt.Sprintf("CA %s is the gateway's: want another address of %s", ca, s.Prefixes[k]), nil
	}
	return "", nil
}

func (c *domainChecker) recordMAC(r *RecordSpec, n int, macs map[MAC]int) {
	switch {
	case r.Unread.Has(FieldMAC):
		return
	case r.MAC == (MAC{}):
		c.add(c.recordPath(n)+".mac", "is missing: want the MAC of the VM's network adapter, such as 02:00:00:00:00:05")
		return
	case r.MAC[0]&1 != 0:
		c.add(c.recordPath(n)+".mac", fmt.Sprintf("MAC %s is a group (multicast) address: want the unicast MAC of the VM's network adapter", r.MAC))
		return
	case r.MAC == c.gatewayMAC && !c.checker.spec.Unread.Has(FieldGatewayMAC):
		c.add(c.recordPath(n)+".mac", fmt.Sprintf("MAC %s is the gateway's: want another MAC, or another gateway_mac", r.MAC))
		return
	}
	if first, taken := macs[r.MAC]; taken {
		c.add(c.recordPath(n)+".mac", fmt.Sprintf("MAC %s is taken by another record of the subnet: want a MAC of its own for each VM of a subnet", r.MAC),
			c.recordPath(first)+".mac")
		return
	}
	macs[r.MAC] = n
}

func (c *domainChecker) recordPlace(r *RecordSpec, n int) {
	host, pa := -1, -1
	if r.Host != "" {
		i, ok := c.hosts[r.Host]
		if ok {
			host = i
		} else if c.hostsKnown {
			c.add(c.recordPath(n)+".host", fmt.Sprintf("host %q is unknown: want %s", r.Host, c.hostChoice()))
		}
	}
	if r.PA.IsValid() {
		if m := addrProblem("PA", r.PA.addr); m != "" {
			c.add(c.recordPath(n)+".pa", m)
			return
		}
		i, ok := c.paOwner[r.PA]
		if ok {
			pa = i
		} else if c.pasKnown {
			c.add(c.recordPath(n)+".pa", fmt.Sprintf("PA %s belongs to no host: want an address from the provider_addresses of one", r.PA))
		}
	}
	if host >= 0 && pa >= 0 && host != pa {
		c.add(c.recordPath(n)+".pa", fmt.Sprintf("PA %s belongs to host %q, but the record names host %q: want one of the two, or both of the same host",
			r.PA, c.checker.spec.Hosts[pa].Name, r.Host), fmt.Sprintf("hosts[%d].provider_addresses", pa))
	}
}

func listPrefixes(all []CAPrefix) string {
	if len(all) == 1 {
		return "prefix " + all[0].String()
	}
	const most = 4
	s := "prefixes "
	for i, p := range all {
		if i == most {
			return fmt.Sprintf("%s and %d more", s, len(all)-most)
		}
		if i > 0 {
			s += ", "
		}
		s += p.String()
	}
	return s
}

// hostChoice names the hosts where they are few.
func (c *checker) hostChoice() string {
	const most = 5
	switch n := len(c.hosts); {
	case n == 0 || n > most:
		return "a name from hosts"
	case n == 1:
		for name := range c.hosts {
			return name
		}
	}
	return "one of " + strings.Join(slices.Sorted(maps.Keys(c.hosts)), ", ")
}
