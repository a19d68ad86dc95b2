package tenant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
)

// records puts the lookup records of one subnet. It runs for every record of a
// spec: a sound record costs its claims and nothing else.
func (c *domainChecker) records(j int) {
	w := c.w.subnets[j]
	if w.recheck {
		for r := range w.s.records.All() {
			if field, m, related := c.addressProblem(r.ca, r.options(), j); m != "" {
				c.add(c.field(c.recordPath(r), field), m, related...)
			}
		}
	}
	c.bases = append(c.bases, recordBase{subnetRef{c.i, j}, len(c.made)})
	var file *string
	for k := range w.records {
		spec := &w.records[k]
		r := &record{ca: spec.CA, vm: spec.VM, iface: spec.IfaceID, vsid: w.vsid, mac: spec.MAC,
			source: sourceOf(spec.Source, file)}
		file = r.source.file
		turn := len(c.made) * turnsOfRecord
		c.made = append(c.made, r)
		hash := hashString(r.vm)
		c.turn = turn + turnVM
		named := c.recordVM(spec, r, hash)
		c.turn = turn + turnIface
		c.recordIface(spec, r, hash, named)
		c.turn = turn + turnCA
		c.recordCA(spec, r, j)
		c.turn = turn + turnMAC
		c.recordMAC(spec, r)
		c.turn = turn + turnPlace
		c.recordPlace(spec, r)
	}
	c.claimMACs(w.s)
	c.turn = len(c.made) * turnsOfRecord
}

func (c *domainChecker) recordVM(spec *RecordSpec, r *record, hash uint64) (named bool) {
	if spec.Unread.Has(FieldVM) {
		return false
	}
	if m := nameProblem("the VM's name", r.vm, MaxName); m != "" {
		c.add(c.field(c.recordPath(r), "vm"), m)
		return false
	}
	c.vmClaims = append(c.vmClaims, persist.Hashed[*record]{Hash: hash, Value: r})
	return true
}

// Records of one adapter share its claims: they are in each index side by side.

func (c *domainChecker) claimVMs() {
	other := func(r, q *record) bool { return r.vm == q.vm && !c.agree(r, q) }
	c.d.vms.InsertAll(c.o, c.vmClaims, other, func(r, first *record) {
		if c.unclaimed == nil {
			c.unclaimed = make(map[*record]*record)
		}
		c.unclaimed[r] = first
		if r.iface == first.iface && r.vsid == first.vsid {
			c.disagrees(r, first)
			return
		}
		c.addLate(r, turnVM, c.field(c.recordPath(r), "vm"), fmt.Sprintf("VM %q is in the routing domain already: want a name of its own for each VM", r.vm),
			c.field(c.recordPath(first), "vm"))
	})
	c.vmClaims = c.vmClaims[:0]
}

// agree reports whether two records may be of one network adapter. Where one
// says no sound place, that is a problem of its own.
func (c *checker) agree(r, q *record) bool {
	return r.vsid == q.vsid && r.mac == q.mac && r.vm == q.vm && r.iface == q.iface &&
		(r.host() == q.host() || c.unplaced[r] || c.unplaced[q])
}

// disagrees reports that two records of an adapter say different things of it.
func (c *checker) disagrees(r, first *record) {
	field := "mac"
	if r.mac == first.mac {
		field = "host"
	}
	c.addLate(r, turnVM, c.field(c.recordPath(r), field), fmt.Sprintf("is not as in another record of VM %q with iface-id %q: want vm, mac and host alike in all records of one network adapter, or an iface_id of its own for each adapter",
		r.vm, r.iface), c.recordPath(first))
}

func (c *domainChecker) recordIface(spec *RecordSpec, r *record, hash uint64, named bool) {
	if r.iface == "" {
		if spec.Unread.Has(FieldIfaceID) || !named {
			return
		}
		r.iface = r.vm
	} else if m := nameProblem("the iface-id", r.iface, MaxName); m != "" {
		c.add(c.field(c.recordPath(r), "iface_id"), m)
		return
	} else {
		hash = hashString(r.iface)
	}
	c.ifaceClaims = append(c.ifaceClaims, persist.Hashed[*record]{Hash: hash, Value: r})
}

func (c *checker) claimIfaces() {
	// The twin of a VM in its routing domain is reported as a VM given twice.
	if len(c.unclaimed) > 0 {
		c.ifaceClaims = slices.DeleteFunc(c.ifaceClaims, func(h persist.Hashed[*record]) bool {
			first, twin := c.unclaimed[h.Value]
			return twin && (h.Value.iface == h.Value.vm || h.Value.iface == first.iface)
		})
	}
	other := func(r, q *record) bool { return r.iface == q.iface && !c.agree(r, q) }
	c.ifaces.InsertAll(c.o, c.ifaceClaims, other, func(r, first *record) {
		which := ""
		if r.iface == r.vm {
			which = ", which is the VM's name where none is given,"
		}
		c.addLate(r, turnIface, c.field(c.recordPath(r), "iface_id"), fmt.Sprintf("iface-id %q%s is taken: set iface_id to a value of its own in the policy", r.iface, which),
			c.recordPath(first))
	})
}

func (c *domainChecker) recordCA(spec *RecordSpec, r *record, j int) {
	if spec.Unread.Has(FieldCA | FieldType) {
		return
	}
	if field, m, related := c.addressProblem(r.ca, spec.Options, j); m != "" {
		c.add(c.field(c.recordPath(r), field), m, related...)
		return
	}
	// Prefixes of a routing domain are disjoint: a CA that is unique in its
	// subnet is unique in the routing domain.
	if first, taken := c.w.subnets[j].s.records.Insert(c.o, r); taken {
		c.taken(r, first)
		return
	}
	c.numRecords++
}

// taken reports that another record has the key of r.
func (c *domainChecker) taken(r, first *record) {
	switch {
	case !r.ca.IsValid():
		c.add(c.field(c.recordPath(r), "mac"), fmt.Sprintf("MAC %s has a record without a CA already: want one for each network adapter", r.mac),
			c.field(c.recordPath(first), "mac"))
	case r.ca.addr.IsUnspecified():
		c.add(c.field(c.recordPath(r), "ca"), fmt.Sprintf("%s is taken: want one wildcard for each family in a subnet", r.ca),
			c.field(c.recordPath(first), "ca"))
	default:
		c.add(c.field(c.recordPath(r), "ca"), fmt.Sprintf("CA %s is taken by another record of the routing domain: want an address of its own for each VM", r.ca),
			c.field(c.recordPath(first), "ca"))
	}
}

// addressProblem says why a record of subnet j cannot have that address and these
// options, and which field is wrong; message is "" where it can.
func (c *domainChecker) addressProblem(ca CA, o *RecordOptions, j int) (field, message string, related []string) {
	typ := Static
	if o != nil {
		typ = o.Type
	}
	switch {
	case !typ.HasCA():
		if ca.IsValid() {
			return "ca", fmt.Sprintf("is %s, but a record of type %s has no CA of its own: want it left out, or type static", ca, typ), nil
		}
		if field, message = c.allowProblem(o, j); message != "" {
			return field, message, []string{c.field(c.path(j), "prefixes")}
		}
		return "", "", nil
	case typ == Wildcard:
		return "ca", c.wildcardProblem(ca, j), nil
	case !ca.IsValid():
		return "ca", addrProblem("CA", ca.addr), nil
	case ca.addr.IsUnspecified():
		return "ca", fmt.Sprintf("%s is the CA of a wildcard: want the address of one machine, or type wildcard", ca), nil
	}
	if m := addrProblem("CA", ca.addr); m != "" {
		return "ca", m, nil
	}
	message, related = c.caProblem(ca, j)
	return "ca", message, related
}

// wildcardProblem says why ca is no wildcard of subnet j, or "".
func (c *domainChecker) wildcardProblem(ca CA, j int) string {
	w := c.w.subnets[j]
	switch {
	case !ca.IsValid() || !ca.addr.IsUnspecified():
		return "is no wildcard: want 0.0.0.0, which stands for all IPv4 addresses, or :: for all of IPv6"
	case w.known && !slices.ContainsFunc(w.prefixes, func(p CAPrefix) bool { return p.prefix.Addr().Is4() == ca.addr.Is4() }):
		return fmt.Sprintf("%s is a wildcard of a family that the subnet has no prefix of: want one of the family of its %s", ca, listPrefixes(w.prefixes))
	}
	return ""
}

// allowProblem says which CAs a dynamic record of subnet j cannot be allowed.
func (c *domainChecker) allowProblem(o *RecordOptions, j int) (field, message string) {
	w := c.w.subnets[j]
	for k, a := range o.Allow {
		field = fmt.Sprintf("allow[%d]", k)
		if !a.IsValid() {
			return field, "is missing: want a prefix in one of the subnet's"
		}
		inside := func(p CAPrefix) bool { return p.prefix.Bits() <= a.prefix.Bits() && p.prefix.Contains(a.prefix.Addr()) }
		if w.known && !slices.ContainsFunc(w.prefixes, inside) {
			return field, fmt.Sprintf("%s is outside the subnet's %s: want a prefix in it", a, listPrefixes(w.prefixes))
		}
	}
	return "", ""
}

// caProblem says why a record of subnet j cannot have that address, or "".
func (c *domainChecker) caProblem(ca CA, j int) (message string, related []string) {
	w := c.w.subnets[j]
	k := slices.IndexFunc(w.prefixes, func(p CAPrefix) bool { return p.Contains(ca) })
	if k < 0 {
		if !w.known {
			return "", nil
		}
		if e, ok := c.lookup(ca.addr); ok {
			return fmt.Sprintf("CA %s is outside the subnet's %s: want an address in it, or the record in subnet %s", ca, listPrefixes(w.prefixes), c.shown(e)),
				[]string{c.entryPath(e)}
		}
		return fmt.Sprintf("CA %s is outside the subnet's %s: want an address in it", ca, listPrefixes(w.prefixes)),
			[]string{c.field(c.path(j), "prefixes")}
	}
	if m := edgeProblem("CA", ca, w.prefixes[k]); m != "" {
		return m, nil
	}
	if slices.Contains(w.gateways, ca) {
		return fmt.Sprintf("CA %s is the gateway's: want another address of %s", ca, w.prefixes[k]), nil
	}
	return "", nil
}

func (c *domainChecker) recordMAC(spec *RecordSpec, r *record) {
	if spec.Unread.Has(FieldMAC) {
		return
	}
	if m := c.macProblem(r.mac); m != "" {
		c.add(c.field(c.recordPath(r), "mac"), m)
		return
	}
	c.macClaims = append(c.macClaims, persist.Hashed[*record]{Hash: hashMAC(r.mac), Value: r})
}

func (c *domainChecker) claimMACs(s *subnet) {
	// Records of one iface-id that do not agree are a problem of that.
	s.macs.InsertAll(c.o, c.macClaims, func(r, q *record) bool { return r.mac == q.mac && r.iface != q.iface }, func(r, first *record) {
		c.addLate(r, turnMAC, c.field(c.recordPath(r), "mac"), fmt.Sprintf("MAC %s is taken by another record of the subnet: want a MAC of its own for each VM of a subnet", r.mac),
			c.field(c.recordPath(first), "mac"))
	})
	c.macClaims = c.macClaims[:0]
}

// macProblem says why no record can have that MAC, or "".
func (c *checker) macProblem(m MAC) string {
	switch {
	case m == (MAC{}):
		return "is missing: want the MAC of the VM's network adapter, such as 02:00:00:00:00:05"
	case m[0]&1 != 0:
		return fmt.Sprintf("MAC %s is a group (multicast) address: want the unicast MAC of the VM's network adapter", m)
	case m == c.gatewayMAC && c.gatewayMACKnown:
		return fmt.Sprintf("MAC %s is the gateway's: want another MAC, or another gateway_mac", m)
	}
	return ""
}

func (c *domainChecker) recordPlace(spec *RecordSpec, r *record) {
	options := spec.Options.given()
	if options != nil {
		r.place = &place{options: options}
		defer c.recordOptions(spec, r)
	}
	key := placeKey{spec.Host, spec.PA}
	if key == (placeKey{}) {
		return
	}
	p, known := c.places[key]
	if !known {
		if p = c.findPlace(key, r); p == nil {
			if c.unplaced == nil {
				c.unplaced = make(map[*record]bool)
			}
			c.unplaced[r] = true
			return
		}
		c.places[key] = p
	}
	if options != nil {
		at := *p.place
		at.options = options
		r.place = &at
	} else {
		r.place = p.place
	}
	p.records = append(p.records, r)
}

// findPlace returns the place that record r gives, or reports why it is none.
func (c *domainChecker) findPlace(key placeKey, r *record) *placement {
	sound := true
	var at *host
	if key.host != "" {
		at = c.editHost(key.host)
		if sound = at != nil; !sound && c.hostsKnown {
			c.add(c.field(c.recordPath(r), "host"), fmt.Sprintf("host %q is unknown: want %s", key.host, c.hostChoice()))
		}
	}
	if key.pa.IsValid() {
		if m := addrProblem("PA", key.pa.addr); m != "" {
			c.add(c.field(c.recordPath(r), "pa"), m)
			return nil
		}
		owner, ok := c.pas.Find(byPA(key.pa))
		switch {
		case !ok:
			if c.pasKnown {
				c.add(c.field(c.recordPath(r), "pa"), fmt.Sprintf("PA %s belongs to no host: want an address from the provider_addresses of one", key.pa))
			}
			sound = false
		case key.host == "":
			at = c.editHost(owner.host)
			sound = at != nil
		case at != nil && owner.host != key.host:
			c.add(c.field(c.recordPath(r), "pa"), fmt.Sprintf("PA %s belongs to host %q, but the record names host %q: want one of the two, or both of the same host",
				key.pa, owner.host, key.host), c.field(c.hostPathOf(owner), "provider_addresses"))
			sound = false
		}
	}
	if !sound {
		return nil
	}
	return &placement{place: &place{host: at.is.Name, pa: key.pa, named: key.host != ""}, host: at}
}

func (c *checker) hostPathOf(owner paRef) string {
	if i, here := c.paAt[owner.pa]; here {
		return c.hostPath(i)
	}
	return HostKey(owner.host).String()
}

// hostChoice names the hosts where they are few.
func (c *checker) hostChoice() string {
	const most = 5
	n := c.hosts.Len()
	if n == 0 || n > most {
		return "a name from hosts"
	}
	names := make([]string, 0, most)
	for h := range c.hosts.All() {
		names = append(names, h.is.Name)
	}
	if n == 1 {
		return names[0]
	}
	return "one of " + strings.Join(names, ", ")
}
