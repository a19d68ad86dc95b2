package e2e

import (
	"net"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// BenchmarkPuntFlood compares, by turns, how things are while one VM sends packets
// that the controller would have to answer (TTL 1) with how they are otherwise:
// how long a change of the policy file takes until it is confirmed by all
// switches, of it the time of a bundle, and how long another VM of the same host
// waits for its time exceeded. What the controller gets is bounded by the meter.
func BenchmarkPuntFlood(b *testing.B) {
	needs(b, "traceroute")
	bed := up(b, "two-tenants")
	bed.ready()
	from := bed.vm("blue-web1")
	mac, _ := net.ParseMAC(from.MAC)
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true},
		&layers.Ethernet{SrcMAC: mac, DstMAC: tenant.DefaultGatewayMAC[:], EthernetType: layers.EthernetTypeIPv4},
		&layers.IPv4{Version: 4, TTL: 1, Protocol: layers.IPProtocolICMPv4, SrcIP: net.ParseIP(from.CA).To4(), DstIP: net.IPv4(10, 0, 2, 14).To4()},
		&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0)}, gopacket.Payload("flood")); err != nil {
		b.Fatal(err)
	}
	bed.run("blue-web3", "traceroute", "-n", "-q", "1", "-m", "1", "10.0.2.14") // a first count, without which there is no metric
	const rate = 5000
	var change, bundle, answer [2][]float64
	var punts []float64
	const web3 = "          - {vm: web3, ca: 10.0.1.13, mac: 02:00:00:00:01:13, iface_id: blue-web3, host: h1}\n"
	const another = "          - {vm: new, ca: 10.0.1.77, mac: 02:00:00:00:01:77, host: h2}\n"
	for range max(7, b.N) {
		for flooded := range 2 {
			before, start := bed.metric("nvgre_punts_total"), time.Now()
			stop := func() int { return 0 }
			if flooded == 1 {
				stop = bed.Flood("blue-web1", rate, buffer.Bytes())
				time.Sleep(time.Second) // the burst is used up
				before, start = bed.metric("nvgre_punts_total"), time.Now()
			}
			for i := range 4 {
				sum, count := bed.bundles()
				began := time.Now()
				if i%2 == 0 {
					bed.apply(web3, web3+another)
				} else {
					bed.apply(another, "")
				}
				change[flooded] = append(change[flooded], time.Since(began).Seconds()*1e3)
				sum2, count2 := bed.bundles()
				if count2 > count {
					bundle[flooded] = append(bundle[flooded], (sum2-sum)/(count2-count)*1e3)
				}
			}
			for range 3 {
				out := bed.run("blue-web3", "traceroute", "-n", "-q", "1", "-m", "1", "-w", "1", "10.0.2.14")
				m := regexp.MustCompile(`10\.0\.1\.1  ([0-9.]+) ms`).FindStringSubmatch(out)
				if m == nil {
					b.Fatalf("no answer: %s", out)
				}
				ms, _ := strconv.ParseFloat(m[1], 64)
				answer[flooded] = append(answer[flooded], ms)
			}
			if flooded == 1 {
				punts = append(punts, (bed.metric("nvgre_punts_total")-before)/time.Since(start).Seconds())
			}
			stop()
		}
	}
	b.ReportMetric(rate, "sent/s")
	b.ReportMetric(median(punts), "punted/s")
	for _, m := range []struct {
		name string
		v    [2][]float64
	}{{"change", change}, {"bundle", bundle}, {"answer", answer}} {
		b.ReportMetric(median(m.v[0]), m.name+"-ms")
		b.ReportMetric(median(m.v[1]), m.name+"-ms-flood")
		b.ReportMetric(median(m.v[1])/median(m.v[0]), m.name+"-ratio")
	}
	b.ReportMetric(0, "ns/op")
}

// bundles returns how long all bundles of the controller took, in seconds, and how
// many there were.
func (b *bed) bundles() (sum, count float64) {
	b.t.Helper()
	body, _ := b.Admin("/metrics")
	for line := range strings.Lines(body) {
		if v, ok := strings.CutPrefix(line, "nvgre_bundle_duration_seconds_sum "); ok {
			sum, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
		if v, ok := strings.CutPrefix(line, "nvgre_bundle_duration_seconds_count "); ok {
			count, _ = strconv.ParseFloat(strings.TrimSpace(v), 64)
		}
	}
	return sum, count
}
