package hnv

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// placeholder is the PA of records that are the gateway's: no host has it.
const placeholder = "169.254.254.254"

// Export writes p as a script that sets the same policy up on Hyper-V hosts of the
// same names, and which [Import] reads as an equal policy, save for what the notes
// say: names of routing domains and subnets, how a controller reaches a host, VMs
// without a host, customers and gateway MACs that no record carries, and what is
// empty have no place in Network Virtualization.
func Export(p *tenant.Policy) ([]byte, []Note) {
	w := &exporter{p: p}
	w.write()
	return w.Bytes(), w.notes
}

type exporter struct {
	bytes.Buffer
	p     *tenant.Policy
	notes []Note
}

func (w *exporter) line(format string, args ...any) {
	fmt.Fprintf(w, format, args...)
	w.WriteString("\r\n")
}

func (w *exporter) lost(format string, args ...any) {
	w.notes = append(w.notes, Note{Kind: Lost, Message: fmt.Sprintf(format, args...)})
}

func (w *exporter) write() {
	w.line("# Policy of Hyper-V Network Virtualization, written by nvgre-ofctl export hnv.")
	w.line("# Run it on a machine that may manage the hosts, which have no such policy yet.")
	w.line("Import-Module NetAdapter")
	w.line("Import-Module NetWnv")
	w.line("")
	w.line("# The adapter of every host that its virtual switch is bound to, and the length")
	w.line("# of the prefix of the provider network: as they are at your site.")
	w.line("$WNVNIC = 'WNVNIC'")
	w.line("$PrefixLength = 24")
	w.line("")
	var hosts []string
	for h := range w.p.Hosts() {
		hosts = append(hosts, quote(h.Name))
		if h.OVSDB != "" || h.OpenFlow != "" {
			w.lost("host %q: how the controller reaches it", h.Name)
		}
		if h.MTU != tenant.DefaultMTU {
			w.lost("host %q: the MTU of its underlay, %d", h.Name, h.MTU)
		}
	}
	w.line("$Hosts = @(%s)", strings.Join(hosts, ", "))
	if len(hosts) == 0 {
		w.emptyWithoutHosts()
		return
	}
	w.line("")
	w.line("# Provider addresses")
	for h := range w.p.Hosts() {
		w.line("$iface = Get-NetAdapter $WNVNIC -CimSession %s", quote(h.Name))
		for _, pa := range h.ProviderAddresses {
			w.line("New-NetVirtualizationProviderAddress -InterfaceIndex $iface.InterfaceIndex -ProviderAddress '%s' -PrefixLength $PrefixLength%s -CimSession %s", pa.PA, vlan(pa), quote(h.Name))
			if pa.Weight > 1 || pa.Uplink != "" {
				w.lost("PA %s of host %q: its weight and its uplink", pa.PA, h.Name)
			}
		}
		for _, r := range h.Routes {
			w.line("New-NetVirtualizationProviderRoute -InterfaceIndex $iface.InterfaceIndex -DestinationPrefix '%s' -NextHop '%s' -Metric %d -CimSession %s", r.Prefix, r.NextHop, r.Metric, quote(h.Name))
		}
	}
	gateway := false
	for d := range w.p.RoutingDomains() {
		gateway = w.domain(d) || gateway
	}
	if !gateway && w.p.GatewayMAC() != tenant.DefaultGatewayMAC {
		w.lost("gateway MAC %s: there is no subnet", w.p.GatewayMAC())
	}
	w.attachments()
}

func vlan(a tenant.ProviderAddress) string {
	if a.VLAN == 0 {
		return ""
	}
	return fmt.Sprintf(" -VlanID %d", a.VLAN)
}

func (w *exporter) emptyWithoutHosts() {
	for d := range w.p.RoutingDomains() {
		w.lost("routing domain %q: there is no host to set its policy up on", d.Name)
	}
	if w.p.GatewayMAC() != tenant.DefaultGatewayMAC {
		w.lost("gateway MAC %s: there is no host", w.p.GatewayMAC())
	}
}

// domain reports whether it wrote the gateway's MAC.
func (w *exporter) domain(d tenant.RoutingDomain) (gateway bool) {
	rdid := "'{" + d.RDID.String() + "}'"
	w.line("")
	w.line("# Routing domain %s", d.Name)
	if d.Name != d.RDID.String() {
		w.lost("routing domain %s: its name %q", d.RDID, d.Name)
	}
	records, subnets := 0, 0
	for s := range w.p.SubnetsOf(d.RDID) {
		subnets++
		if s.Name != s.VSID.String() {
			w.lost("subnet %s: its name %q", s.VSID, s.Name)
		}
		if s.Multicast.Mode != tenant.MulticastOff || s.DHCP || len(s.DNS) > 0 || s.Domain != "" || s.Lease != tenant.DefaultLease || s.MTU != 0 {
			w.lost("subnet %s: what it says of multicast, DHCP and its MTU", s.VSID)
		}
		for _, p := range s.Prefixes {
			hop := "0.0.0.0"
			if p.Prefix().Addr().Is6() {
				hop = "::"
			}
			w.line("New-NetVirtualizationCustomerRoute -RoutingDomainID %s -VirtualSubnetID %s -DestinationPrefix '%s' -NextHop '%s' -Metric 255 -CimSession $Hosts", rdid, s.VSID, p, hop)
		}
		own := !slices.Equal(s.Gateways, tenant.DefaultGateways(s.Prefixes))
		if own || w.p.GatewayMAC() != tenant.DefaultGatewayMAC {
			gateway = true
			for _, g := range s.Gateways {
				w.line("New-NetVirtualizationLookupRecord -VirtualSubnetID %s -CustomerAddress '%s' -MACAddress '%s' -ProviderAddress '%s' -Rule TranslationMethodEncap -CimSession $Hosts",
					s.VSID, g, bareMAC(w.p.GatewayMAC()), placeholder)
			}
		}
		records += w.records(d, s)
	}
	if subnets == 0 {
		w.lost("routing domain %q: it has no subnet", d.Name)
	}
	if records == 0 && d.Customer != "" {
		w.lost("routing domain %q: its customer %q, as there is no record in it", d.Name, d.Customer)
	}
	w.routes(d, rdid)
	return gateway
}

func (w *exporter) routes(d tenant.RoutingDomain, rdid string) {
	type way struct {
		to  tenant.CAPrefix
		hop tenant.CA
		of  tenant.VSID
	}
	seen := map[way]bool{}
	for r := range w.p.RoutesOf(d.RDID) {
		if r.BlackHole {
			w.lost("route to %s in routing domain %q: it is a black hole", r.Prefix, d.Name)
			continue
		}
		of := w.subnetOf(d, r.NextHop)
		switch r.VSID {
		case 0:
		case of: // which would be a route of the whole domain
			w.lost("route to %s by %s in routing domain %q: it is for VSID %s alone, which its next hop is in", r.Prefix, r.NextHop, d.Name, of)
			continue
		default:
			of = r.VSID
		}
		if seen[way{r.Prefix, r.NextHop, of}] { // it came with a lower metric
			w.lost("route to %s by %s with metric %d in routing domain %q: it is there with a lower metric, and has one", r.Prefix, r.NextHop, r.Metric, d.Name)
			continue
		}
		seen[way{r.Prefix, r.NextHop, of}] = true
		w.line("New-NetVirtualizationCustomerRoute -RoutingDomainID %s -VirtualSubnetID %s -DestinationPrefix '%s' -NextHop '%s' -Metric %d -CimSession $Hosts",
			rdid, of, r.Prefix, r.NextHop, r.Metric)
	}
}

// subnetOf returns the subnet of a routing domain that has ca.
func (w *exporter) subnetOf(d tenant.RoutingDomain, ca tenant.CA) tenant.VSID {
	for s := range w.p.SubnetsOf(d.RDID) {
		if slices.ContainsFunc(s.Prefixes, func(p tenant.CAPrefix) bool { return p.Contains(ca) }) {
			return s.VSID
		}
	}
	return 0
}

func (w *exporter) records(d tenant.RoutingDomain, s tenant.VirtualSubnet) (written int) {
	for o := range w.p.RecordObjectsOf(s.VSID) {
		r, _ := w.p.RecordByKey(o.Key())
		ca := r.CA.String()
		if !r.CA.IsValid() {
			ca = "0.0.0.0"
		}
		if r.Host == "" {
			w.lost("record of CA %s in VSID %s: VM %q has no host, and a lookup record wants a PA", ca, s.VSID, r.VM)
			continue
		}
		pa := o.PA
		if r.Rule == tenant.Nat {
			if pa.IsValid() && pa != r.NatPA {
				w.lost("record of CA %s in VSID %s: PA %s, as it has %s for rule nat", ca, s.VSID, pa, r.NatPA)
			}
			pa = r.NatPA
		}
		if !pa.IsValid() {
			h, _ := w.p.Host(r.Host)
			pa = h.ProviderAddresses[0].PA
		}
		more := typeOf(&r)
		if r.UseVMMAC {
			more += " -UseVmMACAddress $true"
		}
		if d.Customer != "" {
			more += " -CustomerID " + quote(d.Customer)
		}
		if text := contextOf(&r); text != "" {
			more += " -Context " + quote(text)
		}
		w.line("New-NetVirtualizationLookupRecord -VirtualSubnetID %s -CustomerAddress '%s' -MACAddress '%s' -ProviderAddress '%s' -Rule %s -VMName %s%s -CimSession $Hosts",
			s.VSID, ca, bareMAC(r.MAC), pa, ruleOf(&r), quote(r.VM), more)
		written++
	}
	return written
}

func ruleOf(r *tenant.LookupRecord) string {
	if r.Rule == tenant.Nat {
		return "TranslationMethodNat"
	}
	return "TranslationMethodEncap"
}

func typeOf(r *tenant.LookupRecord) string {
	switch r.Type {
	case tenant.Dynamic:
		return " -Type Dynamic"
	case tenant.L2Only:
		return " -Type L2Only"
	case tenant.Wildcard:
		return " -Type GatewayWildcard"
	}
	return ""
}

func (w *exporter) attachments() {
	w.line("")
	w.line("# Virtual subnets of the VMs' adapters")
	for h := range w.p.Hosts() {
		open := false
		for r := range w.p.RecordsOn(h.Name) {
			if first, _ := w.p.RecordByIfaceID(r.IfaceID); first.Key() != r.Key() {
				continue // another CA of the adapter
			}
			if !open {
				w.line("Invoke-Command -ComputerName %s {", quote(h.Name))
				open = true
			}
			w.line("  Get-VMNetworkAdapter -VMName %s | where {$_.MacAddress -eq '%s'} | Set-VMNetworkAdapter -VirtualSubnetId %s", quote(r.VM), bareMAC(r.MAC), r.VSID)
		}
		if open {
			w.line("}")
		}
	}
}

// bareMAC returns the form that Hyper-V has, 020000000005.
func bareMAC(m tenant.MAC) string {
	return strings.ToUpper(strings.ReplaceAll(m.String(), ":", ""))
}

// quote returns s as a string in single quotes, of which PowerShell knows five.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('\'')
	for _, r := range s {
		if isSingle(r) {
			b.WriteRune(r)
		}
		b.WriteRune(r)
	}
	b.WriteByte('\'')
	return b.String()
}
