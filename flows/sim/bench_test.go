package sim_test

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/sim"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/tenanttest"
)

// bigWorld has hosts of so many VMs each, in ten tenants with four subnets.
func bigWorld(tb testing.TB, hosts, vms int) *world {
	tb.Helper()
	spec := tenant.Spec{Version: 1}
	for h := range hosts {
		spec.Hosts = append(spec.Hosts, tenant.HostSpec{Name: fmt.Sprintf("h%d", h),
			ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(netip.AddrFrom4([4]byte{10, 99, byte(h >> 8), byte(h + 1)}))}}})
	}
	each := hosts * vms / 40 // in a subnet
	for d := range 10 {
		rd := tenant.RoutingDomainSpec{RDID: tenant.RDID{15: byte(d + 1)}, Name: fmt.Sprintf("rd%d", d)}
		for s := range 4 {
			subnet := tenant.SubnetSpec{VSID: uint32(5000 + 4*d + s), Prefixes: []tenant.CAPrefix{
				tenant.CAPrefixFrom(netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(s), 0, 0}), 16))}}
			for r := range each {
				subnet.Records = append(subnet.Records, tenant.RecordSpec{VM: fmt.Sprintf("vm%d-%d", s, r), IfaceID: fmt.Sprintf("%d-%d-%d", d, s, r),
					CA: tenant.CAFrom(nth(subnet.Prefixes[0].Prefix(), r+2)), MAC: tenant.MAC{2, 0, 0, byte(s), byte(r >> 8), byte(r)},
					Host: spec.Hosts[r%hosts].Name})
			}
			rd.Subnets = append(rd.Subnets, subnet)
		}
		spec.RoutingDomains = append(spec.RoutingDomains, rd)
	}
	p := tenanttest.New(tb, spec)
	at := make(map[string][]flows.Attachment)
	for h := range p.Hosts() {
		at[h.Name] = flows.PlannedView(p, flows.Placement{}, h.Name).Attachments
	}
	w, err := newWorld(p, at, func(string) mode { return modeFlow })
	if err != nil {
		tb.Fatal(err)
	}
	return w
}

// manyPackets draws packets most of which are to be delivered.
func manyPackets(w *world, n int) []input {
	d := seeded(1)
	all := make([]input, n)
	for i := range all {
		s := one(d, w.seats)
		f := udp(s.vm.CA.Addr(), one(d, w.records).CA.Addr(), 64, s.vm.MAC)
		if i%8 == 0 {
			f = w.randomFrame(d, s.vm)
		}
		all[i] = input{host: s.host, port: s.port, frame: f}
	}
	return all
}

// A walk through one switch of 1,000 VMs.
func BenchmarkSwitch(b *testing.B) {
	w := bigWorld(b, 3, 1000)
	in := manyPackets(w, 4096)
	b.Logf("%d flows on a host", len(w.flows[w.hosts[0]].Flows))
	var r sim.Result
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p := &in[i%len(in)]
		i++
		w.hostSwitch(p.host).Run(&sim.Input{Port: p.port, Frame: p.frame}, &r)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "walks/s")
}

// A journey through a network of three such hosts, with the oracle's opinion.
func BenchmarkNetwork(b *testing.B) {
	w := bigWorld(b, 3, 1000)
	in := manyPackets(w, 4096)
	var j sim.Journey
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.run(w.net, &in[i%len(in)], &j)
		i++
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "packets/s")
}

func BenchmarkOracle(b *testing.B) {
	w := bigWorld(b, 3, 1000)
	in := manyPackets(w, 4096)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		w.intent(&in[i%len(in)])
		i++
	}
}

func BenchmarkNewSwitch(b *testing.B) {
	w := bigWorld(b, 3, 1000)
	h := w.hosts[0]
	fs, ps := w.flows[h].Flows, ports(w.views[h])
	b.ReportAllocs()
	for b.Loop() {
		if _, err := sim.NewSwitch(fs, ps); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(fs))*float64(b.N)/b.Elapsed().Seconds(), "flows/s")
}
