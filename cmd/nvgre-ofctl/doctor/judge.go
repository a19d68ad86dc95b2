package doctor

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Verdict is how a finding is.
type Verdict string

// The verdicts.
const (
	OK      Verdict = "ok"
	Warning Verdict = "warning" // it may be meant so, or could not be found out
	Wrong   Verdict = "wrong"   // tenants lose packets by it, or will
)

// Finding is what one check found.
type Finding struct {
	Check   string  `json:"check"`
	Verdict Verdict `json:"verdict"`
	What    string  `json:"what"`
	Do      string  `json:"do,omitempty"` // what would mend it
}

// Overhead is what NVGRE adds to a tenant's IP packet, in octets: inner Ethernet,
// GRE with key, outer IP (RFC 7637 section 3.2).
func Overhead(outer netip.Addr) int {
	if outer.Is6() {
		return 14 + 8 + 40
	}
	return 14 + 8 + 20
}

type judge struct {
	w   Want
	f   *Facts
	all []Finding
}

func (j *judge) add(check string, v Verdict, do, format string, args ...any) {
	j.all = append(j.all, Finding{check, v, fmt.Sprintf(format, args...), do})
}

// Judge returns what the facts mean for what is wanted, in the order in which
// to see to it.
func Judge(w Want, f *Facts) []Finding {
	j := &judge{w: w, f: f}
	j.daemons()
	if f.OVSDB == nil {
		j.bridge()
	}
	if f.Kernel != nil {
		j.add("provider-address", Warning, "install iproute2, and run this as root", "the host's addresses cannot be read: %v", f.Kernel)
		return j.all
	}
	for _, a := range w.PAs {
		j.address(a)
	}
	j.encap()
	for _, r := range w.Routes {
		j.route(r)
	}
	j.ways()
	j.mtu()
	return j.all
}

// WrongOnes returns how many findings are wrong.
func WrongOnes(all []Finding) (n int) {
	for _, f := range all {
		if f.Verdict == Wrong {
			n++
		}
	}
	return n
}

func (j *judge) daemons() {
	if err := j.f.OVSDB; err != nil {
		j.add("ovsdb", Wrong, "start Open vSwitch (systemctl start openvswitch-switch), and run this as root", "ovsdb-server does not answer: %v", err)
	} else {
		j.add("ovsdb", OK, "", "ovsdb-server answers")
	}
	if err := j.f.Vswitchd; err != nil {
		j.add("vswitchd", Wrong, "start Open vSwitch (systemctl start openvswitch-switch); its log says why it ended", "ovs-vswitchd does not answer: %v", err)
	} else {
		j.add("vswitchd", OK, "", "ovs-vswitchd answers")
	}
}

func (j *judge) bridge() {
	i := slices.IndexFunc(j.f.Bridges, func(b Bridge) bool { return b.Name == j.w.Bridge })
	if i < 0 {
		j.add("bridge", Wrong, "the controller makes it: see that it reaches this host's database (nvgre-ofctl status)", "there is no bridge %s", j.w.Bridge)
		return
	}
	b := j.f.Bridges[i]
	if !b.Ours {
		j.add("bridge", Wrong, "let the controller have it: setting adopt-bridge, or another bridge's name in setting bridge", "bridge %s is not the controller's", b.Name)
	} else {
		j.add("bridge", OK, "", "bridge %s is the controller's", b.Name)
	}
	if b.FailMode != "secure" {
		j.add("fail-mode", Wrong, "ovs-vsctl set-fail-mode "+b.Name+" secure", "the fail mode of %s is %q: Open vSwitch may replace all flows by those of a learning switch", b.Name, b.FailMode)
	} else {
		j.add("fail-mode", OK, "", "the fail mode of %s is secure", b.Name)
	}
	for _, t := range b.Targets {
		if !strings.HasPrefix(t, "p") { // ptcp, pssl, punix
			j.add("controller-target", Wrong, "in a quiet hour: ovs-vsctl del-controller "+b.Name+" (it flushes the flows; the controller puts them back)",
				"%s has the active controller target %s: when that changes, or after a restart, Open vSwitch flushes all flows", b.Name, t)
		}
	}
	ours := 0
	for _, t := range j.f.Tunnels {
		switch {
		case !t.Ours:
		case t.Error != "" || t.OFPort <= 0:
			j.add("tunnel-port", Wrong, "remove what is in its way; two gre ports with the same options exclude each other", "gre port %s does not work: %s", t.Name, t.Error)
		default:
			ours++
		}
	}
	if ours > 0 {
		j.add("tunnel-port", OK, "", "gre ports that work: %d", ours)
	} else if len(j.all) > 0 && j.all[len(j.all)-1].Check != "tunnel-port" {
		j.add("tunnel-port", Wrong, "the controller makes it: see that it reaches this host's database (nvgre-ofctl status)", "there is no gre port of the controller's")
	}
}

func (j *judge) address(a tenant.ProviderAddress) {
	d := j.f.has(a.PA.Addr())
	switch {
	case d == nil:
		j.add("provider-address", Wrong, fmt.Sprintf("ip address add %s/LENGTH dev DEVICE, or correct the policy", a.PA), "the host does not have its provider address %s", a.PA)
		return
	case !d.Up:
		j.add("provider-address", Wrong, "ip link set "+d.Name+" up", "%s, which has provider address %s, is down", d.Name, a.PA)
		return
	}
	if j.f.OVSDB == nil {
		for _, p := range j.f.Ports {
			if p.Name == d.Name && p.Tag != int(a.VLAN) {
				j.add("provider-address", Wrong, fmt.Sprintf("ovs-vsctl set Port %s tag=%d, or correct the policy", p.Name, a.VLAN),
					"provider address %s is on VLAN %d (port %s), the policy says %d", a.PA, p.Tag, p.Name, a.VLAN)
				return
			}
		}
		if a.Uplink != "" && !j.leadsTo(d.Name, a.Uplink) {
			j.add("provider-address", Warning, "move the address, or correct uplink in the policy", "provider address %s is on %s, which is not behind uplink %s", a.PA, d.Name, a.Uplink)
			return
		}
	}
	j.add("provider-address", OK, "", "provider address %s is on %s", a.PA, d.Name)
}

// leadsTo reports whether a device is an uplink, or a bridge that it is in.
func (j *judge) leadsTo(device, uplink string) bool {
	return device == uplink || slices.ContainsFunc(j.f.Ports, func(p Port) bool {
		return p.Bridge == device && (p.Name == uplink || slices.Contains(p.Links, uplink))
	})
}

// encap compares what the database says of the host with the policy.
func (j *judge) encap() {
	if j.f.Encap == "" {
		return
	}
	for t := range strings.SplitSeq(j.f.Encap, ",") {
		a, err := netip.ParseAddr(strings.TrimSpace(t))
		if err != nil || !slices.ContainsFunc(j.w.PAs, func(p tenant.ProviderAddress) bool { return p.PA.Addr() == a }) {
			j.add("encap-ip", Warning, "correct Open_vSwitch external_ids:"+keyEncap+", or the policy", "external_ids:%s has %q, which is no provider address of host %s", keyEncap, t, j.w.Host)
		}
	}
}

func (j *judge) route(r tenant.ProviderRoute) {
	prefix, gw := r.Prefix.Prefix(), r.NextHop.Addr()
	do := fmt.Sprintf("ip route replace %s via %s", prefix, gw)
	var others []string
	for _, k := range j.f.Routes {
		if k.Prefix != prefix {
			continue
		}
		if k.Gateway == gw {
			j.add("provider-route", OK, "", "the host routes %s by %s", prefix, gw)
			return
		}
		others = append(others, k.Gateway.String())
	}
	if len(others) > 0 {
		j.add("provider-route", Wrong, do, "the host routes %s by %s, the policy by %s", prefix, strings.Join(others, " and "), gw)
		return
	}
	j.add("provider-route", Wrong, do, "the host has no route for %s, which the policy routes by %s", prefix, gw)
}

func (j *judge) ways() {
	reached := make(map[string]bool)
	for _, w := range j.f.Ways {
		reached[w.Peer] = true
		if w.Err != nil {
			j.add("route-to-peer", Wrong, "add a route", "there is no way to %s, provider address %s: %v", w.Peer, w.To, w.Err)
		}
	}
	for _, p := range j.w.Peers {
		if !reached[p.Name] {
			j.add("route-to-peer", Warning, "give both a provider address of one family, if they have VMs of one tenant", "host %s has no provider address of a family of this host", p.Name)
		}
	}
}

// mtu says whether the underlay carries what the policy says that it does.
func (j *judge) mtu() {
	told := make(map[string]bool)
	for _, w := range j.f.Ways {
		if d := j.f.device(w.Device); d != nil && d.MTU < j.w.MTU && !told[d.Name] {
			told[d.Name] = true
			j.add("mtu-device", Wrong, j.raise(fmt.Sprintf("ip link set %s mtu %d", d.Name, j.w.MTU), d.MTU),
				"%s has an MTU of %d octets, and the policy says that the underlay carries %d", d.Name, d.MTU, j.w.MTU)
		}
	}
	for _, p := range j.f.Probes {
		to := fmt.Sprintf("%s (%s)", p.Peer, p.To)
		switch {
		case p.Err != nil:
			j.add("mtu-path", Warning, "run this as root", "the way to %s cannot be tried: %v", to, p.Err)
		case p.Answered:
			j.add("mtu-path", OK, "", "the way to %s carries %d octets: tenants' packets of %d", to, p.Size, p.Size-Overhead(p.To))
		case p.Largest == 0:
			j.add("mtu-path", Warning, "see that the host is up, and that ICMP echo may pass", "%s does not answer, so its way cannot be tried", to)
		default:
			j.add("mtu-path", Wrong, j.raise("raise the MTU of the switches and routers between", p.Largest),
				"the way to %s carries %d octets of the %d that the policy says: tenants' packets of more than %d are lost", to, p.Largest, p.Size, p.Largest-Overhead(p.To))
		}
	}
}

func (j *judge) raise(first string, mtu int) string {
	return fmt.Sprintf("%s, or set mtu of host %s to %d in the policy, so that VMs are told less", first, j.w.Host, mtu)
}
