package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// Load reads a topology file and the policy file that it names, relative to
// itself. What is wrong with either comes all at once: an [*Error] for the
// topology, policyfile's error for the policy.
func Load(path string) (*Plan, error) {
	f, r, err := readFile(path)
	if err != nil {
		return nil, err
	}
	if f.policy.value == "" {
		return nil, r.err()
	}
	policyPath := f.policy.value
	if !filepath.IsAbs(policyPath) {
		policyPath = filepath.Join(filepath.Dir(path), policyPath)
	}
	policy, err := policyfile.Load(policyPath, 1)
	if err != nil {
		return nil, errors.Join(r.err(), fmt.Errorf("the policy of %s:\n%w", path, err))
	}
	p := r.resolve(f, policy)
	if err := r.err(); err != nil {
		return nil, err
	}
	if p.TopologyFile, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	p.PolicyFile, err = filepath.Abs(policyPath)
	return p, err
}

// nameForm is what names a testbed: it becomes part of the names of namespaces
// and of a directory that holds unix sockets, whose paths must be short.
var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,23}$`)

func (r *reader) resolve(f *file, policy *tenant.Policy) *Plan {
	p := &Plan{Name: f.name.value, MTU: f.mtu, Bond: f.bond}
	if f.name.at == nil {
		base := filepath.Base(r.name)
		p.Name = strings.TrimSuffix(base, filepath.Ext(base))
	}
	if !nameForm.MatchString(p.Name) {
		r.problem(f.name.at, "name", "%q cannot name a testbed: want up to 24 lower-case letters, digits and hyphens", p.Name)
	}
	r.hosts(p, f, policy)
	r.vms(p, f, policy)
	r.links(p, f)
	return p
}

func (r *reader) hosts(p *Plan, f *file, policy *tenant.Policy) {
	wanted := make(map[string]bool)
	for _, h := range f.hosts {
		if h.at == nil {
			continue
		}
		if _, ok := policy.Host(h.value); !ok {
			r.problem(h.at, h.field, "the policy has no host %q: want one of %s", h.value, hostNames(policy))
		}
		if wanted[h.value] {
			r.problem(h.at, h.field, "host %q is listed twice", h.value)
		}
		wanted[h.value] = true
	}
	var hosts []tenant.Host
	for h := range policy.Hosts() {
		if len(f.hosts) == 0 || wanted[h.Name] {
			hosts = append(hosts, h)
		}
	}
	if len(hosts) == 0 {
		r.problem(nil, "hosts", "the policy has no hosts: a testbed needs at least one")
		return
	}
	r.subnets(p, f, hosts)
	tags := make(map[string]uint16) // VLAN of each subnet whose first address was met
	for _, h := range hosts {
		host := Host{Name: h.Name}
		for _, pa := range h.ProviderAddresses {
			s, net := subnetOf(p.Subnets, pa.PA.Addr())
			if s == nil {
				r.problem(nil, "underlay.subnets", "no subnet holds %s, a provider address of host %s: add one", pa.PA, h.Name)
				continue
			}
			if first, ok := tags[s.Name]; !ok {
				tags[s.Name], s.VLAN = pa.VLAN, pa.VLAN
			} else if first != pa.VLAN {
				r.problem(nil, "underlay.subnets", "subnet %s has provider addresses with VLAN %d and with VLAN %d: want one for all", s.Name, first, pa.VLAN)
			}
			if pa.VLAN != 0 && net.Router.IsValid() {
				r.problem(nil, "underlay.subnets", "%s of host %s has VLAN %d, and the router of subnet %s takes no tagged frames: leave the router out", pa.PA, h.Name, pa.VLAN, s.Name)
			}
			host.PAs = append(host.PAs, netip.PrefixFrom(pa.PA.Addr(), net.Prefix.Bits()))
			if host.Subnet == "" {
				host.Subnet = s.Name
			} else if host.Subnet != s.Name {
				r.problem(nil, "underlay.subnets", "host %s has provider addresses in %s and in %s: it has one uplink, into one subnet", h.Name, host.Subnet, s.Name)
			}
		}
		p.Hosts = append(p.Hosts, host)
	}
}

func hostNames(policy *tenant.Policy) string {
	var names []string
	for h := range policy.Hosts() {
		names = append(names, h.Name)
	}
	return strings.Join(names, ", ")
}

func subnetOf(subnets []Subnet, a netip.Addr) (*Subnet, Net) {
	for i := range subnets {
		if n, ok := subnets[i].Net(a); ok {
			return &subnets[i], n
		}
	}
	return nil, Net{}
}

func (r *reader) subnets(p *Plan, f *file, hosts []tenant.Host) {
	if len(f.subnets) == 0 {
		var pas, pas6 []netip.Addr
		for _, h := range hosts {
			for _, pa := range h.ProviderAddresses {
				if a := pa.PA.Addr(); a.Is4() {
					pas = append(pas, a)
				} else {
					pas6 = append(pas6, a)
				}
			}
		}
		s := Subnet{Name: "underlay", Prefix: commonPrefix(pas), Prefix6: commonPrefix(pas6)}
		if !s.Prefix.IsValid() {
			s.Prefix, s.Prefix6 = s.Prefix6, netip.Prefix{}
		}
		p.Subnets = []Subnet{s}
		return
	}
	for i, s := range f.subnets {
		name := s.name.value
		if name == "" {
			name = fmt.Sprintf("underlay%d", i+1)
		}
		for _, o := range p.Subnets {
			if o.Name == name {
				r.problem(s.name.at, s.at.field, "two subnets are called %q", name)
			}
			for _, a := range o.Nets() {
				for _, b := range []Net{s.net, s.net6} {
					if a.Prefix.Overlaps(b.Prefix) {
						r.problem(s.at.at, s.at.field, "%s overlaps %s of subnet %s", b.Prefix, a.Prefix, o.Name)
					}
				}
			}
		}
		for key, n := range map[string]Net{"router": s.net, "router6": s.net6} {
			if len(f.subnets) > 1 && n.Prefix.IsValid() && !n.Router.IsValid() {
				r.problem(s.at.at, s.at.field, "%s is missing: with several subnets each needs one", key)
			}
		}
		p.Subnets = append(p.Subnets, Subnet{Name: name, Prefix: s.net.Prefix, Router: s.net.Router, Prefix6: s.net6.Prefix, Router6: s.net6.Router})
	}
}

// commonPrefix returns a prefix that holds addresses of one family: the usual /24
// (/64 for IPv6), or a shorter one where they are further apart. Of no addresses
// it is invalid.
func commonPrefix(addrs []netip.Addr) netip.Prefix {
	if len(addrs) == 0 {
		return netip.Prefix{}
	}
	bits := 24
	if addrs[0].Is6() {
		bits = 64
	}
	for {
		p := netip.PrefixFrom(addrs[0], bits).Masked()
		if !slices.ContainsFunc(addrs, func(a netip.Addr) bool { return !p.Contains(a) }) {
			return p
		}
		bits--
	}
}

func (r *reader) vms(p *Plan, f *file, policy *tenant.Policy) {
	if len(p.Hosts) == 0 {
		return
	}
	for rec := range policy.Records() {
		if i := slices.IndexFunc(p.VMs, func(v VM) bool { return v.IfaceID == rec.IfaceID }); i >= 0 {
			p.VMs[i].add(policy, rec)
			continue
		}
		p.VMs = append(p.VMs, NewVM(policy, rec, rec.Host))
	}
	listed := make(map[string]bool)
	for _, v := range f.vms {
		if v.name.at == nil {
			continue
		}
		vm, err := p.FindVM(v.name.value, "")
		if err != nil {
			r.problem(v.name.at, v.name.field, "the policy has no VM %q (by iface_id, routing-domain/vm or a vm name that is unique)", v.name.value)
			continue
		}
		if listed[vm.IfaceID] {
			r.problem(v.name.at, v.name.field, "VM %s is listed twice", vm.IfaceID)
		}
		listed[vm.IfaceID] = true
		if v.host.at == nil {
			continue
		}
		if _, ok := p.Host(v.host.value); !ok {
			r.problem(v.host.at, v.host.field, "this testbed has no host %q", v.host.value)
		} else if vm.Host != "" && vm.Host != v.host.value {
			r.problem(v.host.at, v.host.field, "the policy puts VM %s on host %s: leave this VM out here, or change the policy", vm.IfaceID, vm.Host)
		} else {
			vm.Host = v.host.value
		}
	}
	var here []VM
	for _, vm := range p.VMs {
		if _, clash := p.Host(vm.IfaceID); clash {
			r.problem(nil, "vms", "a VM has the iface_id %q, which is the name of a host: rename one in the policy", vm.IfaceID)
		}
		switch _, ok := p.Host(vm.Host); {
		case vm.Host == "" && listed[vm.IfaceID]: // with a host that is wrong, as said already
		case vm.Host == "":
			r.problem(nil, "vms", "the policy does not say where VM %s is: add {name: %s, host: …}", vm.IfaceID, vm.IfaceID)
		case ok:
			here = append(here, vm) // others are on hosts that the testbed leaves out
		}
	}
	p.VMs = here
}

// NewVM returns the VM of a lookup record, on a host.
func NewVM(policy *tenant.Policy, rec tenant.LookupRecord, host string) VM {
	v := VM{IfaceID: rec.IfaceID, RDID: rec.RDID, VSID: rec.VSID, Name: rec.VM, Host: host, MAC: rec.MAC}
	v.Domain = rec.RDID.String()
	if d, ok := policy.RoutingDomain(rec.RDID); ok {
		v.Domain = d.Name
	}
	v.add(policy, rec)
	return v
}

// add gives the VM the address of one more record.
func (v *VM) add(policy *tenant.Policy, rec tenant.LookupRecord) {
	subnet, _ := policy.Subnet(rec.VSID)
	for i, prefix := range subnet.Prefixes {
		if !prefix.Contains(rec.CA) {
			continue
		}
		v.Addresses = append(v.Addresses, netip.PrefixFrom(rec.CA.Addr(), prefix.Prefix().Bits()))
		gw := subnet.Gateways[i].Addr()
		if !slices.ContainsFunc(v.Gateways, func(g netip.Addr) bool { return g.Is4() == gw.Is4() }) {
			v.Gateways = append(v.Gateways, gw)
		}
	}
}

func (r *reader) links(p *Plan, f *file) {
	for _, l := range f.links {
		if l.node.at == nil {
			continue
		}
		name := l.node.value
		if _, ok := p.Host(name); !ok {
			vm, err := p.FindVM(name, "")
			if err != nil {
				r.problem(l.node.at, l.node.field, "%v", err)
				continue
			}
			name = vm.IfaceID
		}
		if slices.ContainsFunc(p.Links, func(o Link) bool { return o.Node == name }) {
			r.problem(l.node.at, l.node.field, "the link of %s is described twice", name)
		}
		l.Node = name
		p.Links = append(p.Links, l.Link)
	}
}
