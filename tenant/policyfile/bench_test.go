package policyfile_test

import (
	"bytes"
	"fmt"
	"runtime"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// bigFile returns a sound policy file of n records, 250 a subnet.
func bigFile(n int) []byte {
	var b bytes.Buffer
	b.WriteString("version: 1\nhosts:\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  - {name: h%d, provider_addresses: [100.64.%d.%d]}\n", i, i>>8, i&255)
	}
	b.WriteString("routing_domains:\n")
	for i := range n {
		if i%1000 == 0 {
			fmt.Fprintf(&b, "  - rdid: 11111111-2222-3333-4444-%012d\n    subnets:\n", i+1)
		}
		if i%250 == 0 {
			fmt.Fprintf(&b, "      - vsid: %d\n        prefixes: [10.0.%d.0/24]\n        records:\n", 4096+i/250, i/250%4)
		}
		fmt.Fprintf(&b, "          - {vm: tenant%d-vm%d, ca: 10.0.%d.%d, mac: 02:00:%02x:%02x:%02x:%02x, host: h%d}\n",
			i/1000, i, i/250%4, i%250+2, i>>24, i>>16&255, i>>8&255, i&255, i%1000)
	}
	return b.Bytes()
}

func BenchmarkParse(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("records=%d", n), func(b *testing.B) {
			data := bigFile(n)
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var peak runtime.MemStats
			for b.Loop() {
				p, err := policyfile.Parse("big.yaml", data, 1)
				if err != nil {
					b.Fatal(err)
				}
				runtime.ReadMemStats(&peak)
				runtime.KeepAlive(p)
			}
			b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "records/s")
			b.ReportMetric(float64(peak.HeapSys)/float64(len(data)), "heap/octet")
		})
	}
}
