package policyfile

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Marshal returns p as a policy file, which [Parse] reads as an equal policy.
// What is as the default has it is left out. The error says that the file would
// be larger than [MaxSize].
func Marshal(p *tenant.Policy) ([]byte, error) {
	w := &writer{}
	w.line("version: 1")
	if p.GatewayMAC() != tenant.DefaultGatewayMAC {
		w.line("gateway_mac: %s", p.GatewayMAC())
	}
	w.section("hosts:", "hosts: []", any1(p.Hosts()))
	for h := range p.Hosts() {
		w.host(h)
	}
	w.section("routing_domains:", "routing_domains: []", any1(p.RoutingDomains()))
	for d := range p.RoutingDomains() {
		w.domain(p, d)
	}
	if w.buf.Len() > MaxSize {
		return nil, fmt.Errorf("write the policy: its file has %d octets: want at most %d", w.buf.Len(), MaxSize)
	}
	return w.buf.Bytes(), nil
}

type writer struct{ buf bytes.Buffer }

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(&w.buf, format, args...)
	w.buf.WriteByte('\n')
}

func (w *writer) section(head, none string, some bool) {
	if some {
		w.line("%s", head)
	} else {
		w.line("%s", none)
	}
}

func any1[T any](seq func(yield func(T) bool)) bool {
	for range seq {
		return true
	}
	return false
}

func (w *writer) host(h tenant.Host) {
	w.line("  - name: %s", quote(h.Name))
	pas := make([]string, len(h.ProviderAddresses))
	for i, pa := range h.ProviderAddresses {
		pas[i] = providerAddress(pa)
	}
	w.line("    provider_addresses: [%s]", strings.Join(pas, ", "))
	if h.OVSDB != "" {
		w.line("    ovsdb: %s", quote(h.OVSDB))
	}
	if h.OpenFlow != "" {
		w.line("    openflow: %s", quote(h.OpenFlow))
	}
	if h.MTU != tenant.DefaultMTU {
		w.line("    mtu: %d", h.MTU)
	}
	if len(h.Routes) > 0 {
		w.line("    routes:")
	}
	for _, r := range h.Routes {
		w.line("      - {prefix: %s, next_hop: %s, metric: %d}", r.Prefix, address(r.NextHop), r.Metric)
	}
}

// providerAddress returns the address alone where there is nothing else.
func providerAddress(a tenant.ProviderAddress) string {
	b := []byte("{pa: " + address(a.PA))
	bare := len(b)
	if a.Weight > 1 {
		b = fmt.Appendf(b, ", weight: %d", a.Weight)
	}
	if a.Uplink != "" {
		b = append(b, ", uplink: "+quote(a.Uplink)...)
	}
	if a.VLAN != 0 {
		b = fmt.Appendf(b, ", vlan: %d", a.VLAN)
	}
	if len(b) == bare {
		return address(a.PA)
	}
	return string(append(b, '}'))
}

func (w *writer) domain(p *tenant.Policy, d tenant.RoutingDomain) {
	w.line("  - rdid: %q", "{"+d.RDID.String()+"}")
	if d.Name != d.RDID.String() {
		w.line("    name: %s", quote(d.Name))
	}
	if d.Customer != "" {
		w.line("    customer: %s", quote(d.Customer))
	}
	if any1(p.SubnetsOf(d.RDID)) {
		w.line("    subnets:")
	}
	for s := range p.SubnetsOf(d.RDID) {
		w.subnet(p, s)
	}
	if any1(p.RoutesOf(d.RDID)) {
		w.line("    routes:")
	}
	for r := range p.RoutesOf(d.RDID) {
		w.route(r)
	}
}

func (w *writer) route(r tenant.CustomerRoute) {
	how := "black_hole: true"
	if !r.BlackHole {
		how = "next_hop: " + address(r.NextHop)
	}
	if r.VSID != 0 {
		how += ", vsid: " + r.VSID.String()
	}
	w.line("      - {prefix: %s, %s, metric: %d}", r.Prefix, how, r.Metric)
}

func (w *writer) subnet(p *tenant.Policy, s tenant.VirtualSubnet) {
	w.line("      - vsid: %d", s.VSID)
	if s.Name != s.VSID.String() {
		w.line("        name: %s", quote(s.Name))
	}
	w.line("        prefixes: [%s]", join(s.Prefixes))
	if !slices.Equal(s.Gateways, tenant.DefaultGateways(s.Prefixes)) {
		w.line("        gateways: [%s]", join(s.Gateways))
	}
	w.services(s)
	if any1(p.RecordObjectsOf(s.VSID)) {
		w.line("        records:")
	}
	for r := range p.RecordObjectsOf(s.VSID) {
		b := w.buf.AvailableBuffer()
		b = append(b, "          - {vm: "...)
		b = append(b, quote(r.VM)...)
		if r.CA.IsValid() {
			b = append(b, ", ca: "...)
			b = append(b, address(r.CA)...)
		}
		b = append(b, ", mac: "...)
		b = append(b, r.MAC.String()...)
		if r.IfaceID != "" {
			b = append(b, ", iface_id: "...)
			b = append(b, quote(r.IfaceID)...)
		}
		if r.Host != "" {
			b = append(b, ", host: "...)
			b = append(b, quote(r.Host)...)
		}
		if r.PA.IsValid() {
			b = append(b, ", pa: "...)
			b = append(b, address(r.PA)...)
		}
		if r.Options != nil {
			b = appendOptions(b, r.Options)
		}
		w.buf.Write(append(b, "}\n"...))
	}
}

func join[T fmt.Stringer](all []T) string {
	s := make([]string, len(all))
	for i := range all {
		s[i] = address(all[i])
	}
	return strings.Join(s, ", ")
}

// address returns an address so that it may be followed by a comma or a brace:
// a colon before one begins a value in YAML.
func address(a fmt.Stringer) string {
	if s := a.String(); !strings.HasSuffix(s, ":") {
		return s
	}
	return strconv.Quote(a.String())
}

var plainName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_.-]*$`)

// quote returns s so that every reader of YAML takes it for text, inside braces
// too. The escapes of a Go string are a part of YAML's.
func quote(s string) string {
	if !plainName.MatchString(s) {
		return strconv.Quote(s)
	}
	switch strings.ToLower(s) {
	case "y", "n", "yes", "no", "on", "off", "true", "false", "null":
		return strconv.Quote(s)
	}
	return s
}
