package e2e

import (
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/drive"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// Everybody reaches whom the policy lets them reach, with the right TTL, and
// nobody else, in both port modes, on all examples: the last has customer and provider
// addresses of both families, in all four mixes.
func TestMatrix(t *testing.T) {
	for _, example := range []string{"two-tenants", "hnv-blue-red", "dual-stack"} {
		for _, mode := range []string{"flow", "per-vsid"} {
			t.Run(example+"/"+mode, func(t *testing.T) {
				b := up(t, example, "port-mode: "+mode)
				b.ready()
				out, errs, code := b.testbedCLI("pingall")
				if code != 0 {
					t.Errorf("pingall exits with %d\n%s%s", code, out, errs)
				}
				if t.Failed() {
					return
				}
				// What pingall finds right must not be right by accident: with a
				// VM's link down it finds a difference.
				if _, errs, code := b.testbedCLI("link", b.in.VMs[0].IfaceID, "down"); code != 0 {
					t.Fatalf("link down: %d %s", code, errs)
				}
				if out, _, code := b.testbedCLI("pingall"); code != 1 {
					t.Errorf("pingall with a VM's link down exits with %d\n%s", code, out)
				}
			})
		}
	}
}

// The README's demonstration is all as expected.
func TestDemo(t *testing.T) {
	ovstest.Require(t)
	for _, example := range []string{"two-tenants", "hnv-blue-red"} {
		t.Run(example, func(t *testing.T) {
			binary, err := drive.Binary()
			if err != nil {
				t.Fatal(err)
			}
			out, errs, code := drive.Run(t, binary, "testbed", "--state-dir", t.TempDir(), "demo", "-f", "../examples/"+example+".yaml")
			if code != 0 {
				t.Errorf("exit %d\n%s\n%s", code, out, errs)
			}
			for _, part := range []string{"VSID", "GRE"} {
				if !strings.Contains(out, part) {
					t.Errorf("the demo does not show %q:\n%s", part, out)
				}
			}
		})
	}
}
