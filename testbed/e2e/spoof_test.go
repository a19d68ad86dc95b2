package e2e

import (
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
)

const forged = 5 // frames of each kind

// inject sends a frame from a device, forged times.
func inject(t testing.TB, namespace, device string, frame []byte) {
	t.Helper()
	if err := netspace.SendFrames(namespace, device, slices.Repeat([][]byte{frame}, forged)...); err != nil {
		t.Fatal(err)
	}
}

// frame serializes layers, with lengths and checksums.
func frame(t testing.TB, ls ...gopacket.SerializableLayer) []byte {
	t.Helper()
	b := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ls...); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func mac(t *testing.T, s string) net.HardwareAddr {
	t.Helper()
	m, err := net.ParseMAC(s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func ip(s string) net.IP { return netip.MustParseAddr(s).AsSlice() }

func ethernet(src, dst net.HardwareAddr, et layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: src, DstMAC: dst, EthernetType: et}
}

// datagram is an inner packet that a VM's kernel would take: UDP to port 9.
func datagram(src, dst string) []gopacket.SerializableLayer {
	i := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: ip(src), DstIP: ip(dst)}
	u := &layers.UDP{SrcPort: 9, DstPort: 9}
	u.SetNetworkLayerForChecksum(i)
	return []gopacket.SerializableLayer{i, u, gopacket.Payload("forged")}
}

func arp(op uint16, sha net.HardwareAddr, spa, tpa string) *layers.ARP {
	return &layers.ARP{AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
		Operation: op, SourceHwAddress: sha, SourceProtAddress: ip(spa), DstHwAddress: make([]byte, 6), DstProtAddress: ip(tpa)}
}

// listen counts the UDP datagrams to port 9 that a VM's kernel gets.
func listen(t *testing.T, vm testbed.VMInspection) (count func() int) {
	t.Helper()
	var c net.PacketConn
	err := netspace.Do(vm.Namespace, func() (err error) { c, err = net.ListenPacket("udp4", ":9"); return err })
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan struct{}, 1000)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for b := make([]byte, 100); ; {
			if _, _, err := c.ReadFrom(b); err != nil {
				return
			}
			got <- struct{}{}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return func() int { return len(got) }
}

// Each forgery is dropped by the flow that names it and reaches nobody.
func TestSpoofing(t *testing.T) {
	b := up(t, "two-tenants")
	b.ready()
	web1, web2, web3 := b.vm("blue-web1"), b.vm("blue-web2"), b.vm("blue-web3") // hosts h1, h2, h1
	m1, m2, m3 := mac(t, web1.MAC), mac(t, web2.MAC), mac(t, web3.MAC)
	broadcast := mac(t, "ff:ff:ff:ff:ff:ff")
	stranger := mac(t, "02:66:66:66:66:66")
	var h1, h2 testbed.HostInspection
	for _, h := range b.in.Hosts {
		switch h.Name {
		case "h1":
			h1 = h
		case "h2":
			h2 = h
		}
	}
	wire := b.in.Underlay.Subnets[0].Bridge

	fromVM := func(ls ...gopacket.SerializableLayer) func() {
		f := frame(t, ls...)
		return func() { inject(t, web1.Namespace, "eth0", f) }
	}
	udp := func(src, dst net.HardwareAddr, from, to string) []gopacket.SerializableLayer {
		return append([]gopacket.SerializableLayer{ethernet(src, dst, layers.EthernetTypeIPv4)}, datagram(from, to)...)
	}
	// nvgre is a packet on the wire of the underlay, to h1.
	nvgre := func(pa string, key uint32, inner ...gopacket.SerializableLayer) func() {
		outer := []gopacket.SerializableLayer{
			ethernet(mac(t, h2.MAC), mac(t, h1.MAC), layers.EthernetTypeIPv4),
			&layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolGRE, SrcIP: ip(pa), DstIP: ip(h1.PAs[0])},
			&layers.GRE{KeyPresent: true, Protocol: layers.EthernetTypeTransparentEthernetBridging, Key: key},
		}
		f := frame(t, append(outer, inner...)...)
		return func() { inject(t, b.in.Underlay.Namespace, wire, f) }
	}
	toWeb1 := udp(m2, m1, web2.CA, web1.CA)
	tagged := append([]gopacket.SerializableLayer{ethernet(m2, m1, layers.EthernetTypeDot1Q),
		&layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}}, datagram(web2.CA, web1.CA)...)
	for _, c := range []struct {
		name   string
		send   func()
		reason string // "": delivered to web1
	}{
		{"a frame that is right passes", nvgre(h2.PAs[0], 5001<<8, toWeb1...), ""},
		{"and one with a FlowID", nvgre(h2.PAs[0], 5001<<8|7, toWeb1...), ""},
		{"source MAC", fromVM(udp(stranger, m3, web1.CA, web3.CA)...), "source-mac"},
		{"source MAC of another VM", fromVM(udp(m3, m2, web1.CA, web2.CA)...), "source-mac"},
		{"source CA", fromVM(udp(m1, m3, "10.0.1.99", web3.CA)...), "source-ca"},
		{"source CA of another VM", fromVM(udp(m1, m2, web3.CA, web2.CA)...), "source-ca"},
		{"ARP sender CA", fromVM(ethernet(m1, broadcast, layers.EthernetTypeARP), arp(1, m1, web3.CA, web2.CA)), "arp-sender"},
		{"ARP sender MAC", fromVM(ethernet(m1, broadcast, layers.EthernetTypeARP), arp(1, m3, web1.CA, web2.CA)), "arp-sender"},
		{"gratuitous ARP reply", fromVM(ethernet(m1, broadcast, layers.EthernetTypeARP), arp(2, m1, web1.CA, web1.CA)), "arp-own"},
		{"ARP reply to everybody", fromVM(ethernet(m1, broadcast, layers.EthernetTypeARP), arp(2, m1, web1.CA, web2.CA)), "arp-sender"},
		{"tag from the VM", fromVM(append([]gopacket.SerializableLayer{ethernet(m1, m3, layers.EthernetTypeDot1Q),
			&layers.Dot1Q{VLANIdentifier: 7, Type: layers.EthernetTypeIPv4}}, datagram(web1.CA, web3.CA)...)...), "vm-tagged"},
		{"broadcast", fromVM(udp(m1, broadcast, web1.CA, "255.255.255.255")...), "multicast"},
		{"ARP for an unknown CA", fromVM(ethernet(m1, broadcast, layers.EthernetTypeARP), arp(1, m1, web1.CA, "10.0.1.200")), "arp-unknown-ca"},
		{"unknown CA", fromVM(udp(m1, m3, web1.CA, "10.0.1.200")...), "unknown-ca"},
		{"unknown PA", nvgre("10.99.0.77", 5001<<8, toWeb1...), "unknown-pa"},
		{"unknown VSID", nvgre(h2.PAs[0], 7777<<8, toWeb1...), "unknown-vsid"},
		{"VSID of another subnet", nvgre(h2.PAs[0], 5002<<8, toWeb1...), "not-here"},
		{"inner tag", nvgre(h2.PAs[0], 5001<<8, tagged...), "tunnel-tagged"},
		{"inner broadcast", nvgre(h2.PAs[0], 5001<<8, udp(m2, broadcast, web2.CA, "255.255.255.255")...), "tunnel-multicast"},
		{"inner protocol", nvgre(h2.PAs[0], 5001<<8, ethernet(m2, m1, layers.EthernetTypeLinkLayerDiscovery), gopacket.Payload(make([]byte, 50))), "tunnel-protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			counts := map[string]func() int{}
			for _, v := range b.in.VMs {
				counts[v.IfaceID] = listen(t, v)
			}
			before := b.drops("h1")
			c.send()
			if c.reason == "" {
				until(t, 5*time.Second, "delivery", func() bool { return counts["blue-web1"]() == forged }, nil)
			} else {
				// The counters of a flow follow the datapath's within a second.
				until(t, 5*time.Second, "the drop to be counted", func() bool { return b.drops("h1")[c.reason]-before[c.reason] >= forged },
					func() string { return "" })
			}
			after := b.drops("h1")
			for reason, n := range after {
				want := 0
				if reason == c.reason {
					want = forged
				}
				if n-before[reason] != want {
					t.Errorf("drop flows of reason %s counted %d, want %d", reason, n-before[reason], want)
				}
			}
			for name, count := range counts {
				if n := count(); n > 0 && (c.reason != "" || name != "blue-web1") {
					t.Errorf("%s got %d", name, n)
				}
			}
		})
	}
}
