package calc_test

import (
	"slices"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/calc"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
)

// A routing domain stays for more than one and for less than three calls of
// Expire, unless a VM comes back meanwhile; without Linger it goes at once.
func TestLinger(t *testing.T) {
	p := cloud(t, 1000)
	here := inputs(p, 1000, 1)[hostName(0)]
	none := calc.Input{Tunnels: here.Tunnels}
	for _, linger := range []bool{false, true} {
		e := calc.New(calc.Options{Linger: linger})
		e.SetPolicy(p)
		held := func() int {
			us := e.Flush()
			if len(us) > 0 && !slices.Equal(us[0].Domains, e.Domains(hostName(0))) {
				t.Errorf("the update has %v, the engine %v", us[0].Domains, e.Domains(hostName(0)))
			}
			return len(e.Domains(hostName(0)))
		}
		check := func(what string, want int) {
			t.Helper()
			if got := held(); got != want {
				t.Errorf("linger %v, %s: %d routing domains, want %d", linger, what, got, want)
			}
		}
		later := 0
		if linger {
			later = 2
		}
		e.SetHost(hostName(0), here)
		check("VMs come", 2)
		e.SetHost(hostName(0), none)
		check("VMs go", later)
		e.Expire()
		check("after one period", later)
		e.SetHost(hostName(0), here)
		check("VMs come back", 2)
		e.Expire()
		e.Expire()
		check("VMs stay", 2)
		one := here
		one.Attachments = []flows.Attachment{here.Attachments[0]}
		e.SetHost(hostName(0), one)
		check("one goes", max(later, 1))
		e.Expire()
		e.Expire()
		check("after two periods", 1)
		if domains, _ := e.Blocks(); domains != 1 {
			t.Errorf("%d blocks are kept, want 1", domains)
		}
	}
}
