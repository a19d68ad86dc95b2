package e2e

import (
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/drive"
)

func TestMain(m *testing.M) { os.Exit(drive.Main(m)) }

// bed is a testbed with a policy of its own that a test may edit.
type bed struct {
	*drive.Bed
	t      testing.TB
	binary string
	root   string
	policy string // path
	in     *testbed.Inspection
}

// up builds a testbed from one of the examples. Settings are lines for the
// controller's settings file.
func up(t testing.TB, example string, settings ...string) *bed {
	t.Helper()
	b := drive.Up(t, filepath.Join("..", "examples", example+".yaml"), settings...)
	binary, err := drive.Binary()
	if err != nil {
		t.Fatal(err)
	}
	return &bed{Bed: b, t: t, binary: binary, root: b.Root, policy: b.Policy, in: b.In}
}

func (b *bed) cli(args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	return b.CLI(args...)
}

func (b *bed) testbedCLI(args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	return b.TestbedCLI(args...)
}

// controller is a running `nvgre-ofctl controller`.
type controller struct{ *drive.Controller }

func (b *bed) start() *controller {
	b.t.Helper()
	return &controller{b.Start()}
}

func (b *bed) startWith(settings string) *controller {
	b.t.Helper()
	return &controller{b.StartWith(settings)}
}

func (b *bed) startIn(namespace, settings string) *controller {
	b.t.Helper()
	return &controller{b.StartIn(namespace, settings)}
}

func (b *bed) ready() *controller {
	b.t.Helper()
	return &controller{b.Ready()}
}

func (c *controller) kill(sig syscall.Signal) error { return c.Kill(sig) }

func (c *controller) waitReady() { c.WaitReady() }

func (b *bed) status(v any) {
	b.t.Helper()
	b.Status(v)
}

func (b *bed) metric(name string, labels ...string) float64 {
	b.t.Helper()
	return b.Metric(name, labels...)
}

func (b *bed) drops(host string) map[string]int {
	b.t.Helper()
	return b.Drops(host)
}

func (b *bed) edit(oldnew ...string) {
	b.t.Helper()
	b.Edit(oldnew...)
}

func (b *bed) write(text string) {
	b.t.Helper()
	b.WritePolicy(text)
}

func (b *bed) readPolicy() string {
	b.t.Helper()
	return b.ReadPolicy()
}

func (b *bed) vm(iface string) testbed.VMInspection {
	b.t.Helper()
	return b.VM(iface)
}

func until(t testing.TB, limit time.Duration, what string, ok func() bool, why func() string) {
	t.Helper()
	drive.Until(t, limit, what, ok, why)
}

// pingers start a pinger for each pair of VMs of one routing domain, one way
// for each.
func (b *bed) pingers() (all []*pinger) {
	b.t.Helper()
	for i, from := range b.in.VMs {
		for _, to := range b.in.VMs[i+1:] {
			if from.RDID == to.RDID {
				all = append(all, b.pinger(from, to, uint16(len(all)+1)))
			}
		}
	}
	if len(all) == 0 {
		b.t.Fatal("no pairs")
	}
	// Losses count from when all of them have been answered.
	begin := time.Now()
	until(b.t, 10*time.Second, "all pairs to be answered", func() bool { return allAnswered(all, begin) }, nil)
	return all
}

func allAnswered(pings []*pinger, since time.Time) bool {
	for _, p := range pings {
		if !p.answeredSince(since) {
			return false
		}
	}
	return true
}

func (b *bed) pinger(from, to testbed.VMInspection, id uint16) *pinger {
	b.t.Helper()
	return startPinger(b.t, from.IfaceID+"->"+to.IfaceID, from.Namespace, netip.MustParseAddr(from.CA), netip.MustParseAddr(to.CA), id)
}

// finishAll ends pingers and returns the sum, and the one that fared worst.
func finishAll(t testing.TB, all []*pinger) (sent, lost int, worst pingResult) {
	t.Helper()
	for _, p := range all {
		p.halt()
	}
	for _, p := range all {
		r := p.finish(5 * time.Second)
		if r.Sent == 0 || r.Err != nil {
			t.Errorf("%v", r)
		}
		if r.Lost > 0 {
			t.Logf("%v", r)
		}
		sent, lost = sent+r.Sent, lost+r.Lost
		if r.Lost > worst.Lost || r.Lost == worst.Lost && r.Late > worst.Late {
			worst = r
		}
	}
	return sent, lost, worst
}
