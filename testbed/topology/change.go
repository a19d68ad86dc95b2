package topology

import (
	"fmt"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// Plugged returns the plan with one VM more, as the policy file has it now, and
// that VM; an empty host means the one where the policy puts it.
func (p *Plan) Plugged(ifaceID, host string) (*Plan, *VM, error) {
	policy, err := policyfile.Load(p.PolicyFile, 1)
	if err != nil {
		return nil, nil, err
	}
	rec, ok := policy.RecordByIfaceID(ifaceID)
	if !ok {
		return nil, nil, fmt.Errorf("%s has no record with iface_id %s: add one first", p.PolicyFile, ifaceID)
	}
	if host == "" {
		host = rec.Host
	}
	if _, ok := p.Host(host); !ok {
		return nil, nil, fmt.Errorf("VM %s: the testbed has no host %q", ifaceID, host)
	}
	if p.index(ifaceID) >= 0 {
		return nil, nil, fmt.Errorf("VM %s is plugged in already: `testbed move` moves it, `testbed unplug` removes it", ifaceID)
	}
	c := *p
	c.VMs = append(slices.Clone(p.VMs), NewVM(policy, rec, host))
	return &c, &c.VMs[len(c.VMs)-1], nil
}

// Unplugged returns the plan without a VM.
func (p *Plan) Unplugged(v *VM) *Plan {
	c := *p
	c.VMs = slices.DeleteFunc(slices.Clone(p.VMs), func(o VM) bool { return o.IfaceID == v.IfaceID })
	return &c
}

// Moved returns the plan with a VM of it on another host, and that VM.
func (p *Plan) Moved(v *VM, host string) (*Plan, *VM, error) {
	if _, ok := p.Host(host); !ok {
		return nil, nil, &UnknownNodeError{Name: host}
	}
	c := *p
	c.VMs = slices.Clone(p.VMs)
	i := c.index(v.IfaceID)
	c.VMs[i].Host = host
	return &c, &c.VMs[i], nil
}

func (p *Plan) index(ifaceID string) int {
	return slices.IndexFunc(p.VMs, func(v VM) bool { return v.IfaceID == ifaceID })
}
