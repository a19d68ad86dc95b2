package tenant

import (
	"fmt"
	"slices"
)

// recordOptions checks the options of a record that has some.
func (c *domainChecker) recordOptions(spec *RecordSpec, r *record) {
	o, path := spec.Options, c.recordPath(r)
	for k, v := range o.VLANs {
		at := c.field(path, fmt.Sprintf("vlans[%d]", k))
		if v == 0 || v > maxVLAN {
			c.add(at, vlanProblem(v))
		} else if first := slices.Index(o.VLANs[:k], v); first >= 0 {
			c.add(at, fmt.Sprintf("VLAN %d is given twice: want it once", v), c.field(path, fmt.Sprintf("vlans[%d]", first)))
		}
	}
	if o.Context != "" {
		if m := nameProblem("the context", o.Context, MaxName); m != "" {
			c.add(c.field(path, "context"), m)
		}
	}
	if len(o.Allow) > 0 && o.Type != Dynamic {
		c.add(c.field(path, "allow"), fmt.Sprintf("is for records of type dynamic, and this one is %s: want type dynamic, or it left out", o.Type))
	}
	if spec.Unread.Has(FieldRule | FieldNatPA | FieldType) {
		return
	}
	if o.Rule != Nat {
		if o.NatPA.IsValid() {
			c.add(c.field(path, "nat_pa"), "is for records of rule nat: want rule nat, or it left out")
		}
		return
	}
	c.nat(spec, r, path)
}

// nat checks a record of rule nat and claims its PA.
func (c *domainChecker) nat(spec *RecordSpec, r *record, path string) {
	o := spec.Options
	at := c.field(path, "nat_pa")
	switch m := addrProblem("PA", o.NatPA.addr); {
	case o.Type != Static:
		c.add(c.field(path, "rule"), fmt.Sprintf("is nat, which rewrites one CA, and a record of type %s has not one: want type static, or rule encap", o.Type))
		return
	case !o.NatPA.IsValid():
		c.add(at, "is missing: want the PA of the record's host that stands for the CA in the underlay")
		return
	case m != "":
		c.add(at, m)
		return
	case spec.Unread.Has(FieldHost|FieldPA) || c.unplaced[r] || !c.pasKnown:
		return // where the VM is says another problem
	case r.host() == "":
		c.add(at, fmt.Sprintf("PA %s stands for the CA on one host, and the record names none: want the record's host, or its pa", o.NatPA))
		return
	case r.ca.IsValid() && r.ca.addr.Is4() != o.NatPA.addr.Is4():
		c.add(at, fmt.Sprintf("PA %s is not of the family of CA %s: want an address of the same family", o.NatPA, r.ca))
		return
	}
	if owner, ok := c.pas.Find(byPA(o.NatPA)); !ok || owner.host != r.host() {
		c.add(at, fmt.Sprintf("PA %s is no provider address of host %q: want one of the host that the VM is on", o.NatPA, r.host()))
		return
	}
	if first, taken := c.nats.Insert(c.o, natRef{o.NatPA, r}); taken {
		c.add(at, fmt.Sprintf("PA %s stands for another CA already: want a PA of its own for each record of rule nat", o.NatPA),
			c.field(c.recordPath(first.by), "nat_pa"))
	}
}
