//go:build linux

package netspace_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"testing"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func create(t *testing.T, suffix string) string {
	t.Helper()
	ovstest.Require(t)
	name := fmt.Sprintf("nvt-test-%d-%s", os.Getpid(), suffix)
	if _, err := netspace.Create(name, "label of a test"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := netspace.Delete(name, "label of a test"); err != nil {
			t.Error(err)
		}
	})
	return name
}

func TestNamespaceIsMadeLabelledAndRemoved(t *testing.T) {
	name := create(t, "a")
	if _, err := netspace.Create(name, "another"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second namespace of the same name: %v, want fs.ErrExist", err)
	}
	if got, err := netspace.Label(name); err != nil || got != "label of a test" {
		t.Errorf("label %q, %v", got, err)
	}
	if err := netspace.Delete(name, "label of somebody else"); !errors.Is(err, netspace.ErrForeign) {
		t.Errorf("removing a namespace with another label: %v, want ErrForeign", err)
	}
	if !netspace.Exists(name) {
		t.Fatal("a namespace with another label was removed")
	}
	if err := netspace.Delete(name, "label of a test"); err != nil {
		t.Fatal(err)
	}
	if netspace.Exists(name) {
		t.Error("the namespace is still there")
	}
	if err := netspace.Delete(name, "label of a test"); err != nil {
		t.Errorf("removing what is gone: %v", err)
	}
}

func TestDeleteTakesAnUnboundNameOnlyIfItIsEmpty(t *testing.T) {
	ovstest.Require(t)
	name := fmt.Sprintf("nvt-test-%d-file", os.Getpid())
	create(t, "any") // makes sure that the directory exists
	if err := os.WriteFile(netspace.Path(name), []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(netspace.Path(name)) })
	if err := netspace.Delete(name, "label of a test"); !errors.Is(err, netspace.ErrForeign) {
		t.Errorf("removing a file with content: %v, want ErrForeign", err)
	}
	if err := os.Truncate(netspace.Path(name), 0); err != nil {
		t.Fatal(err)
	}
	if err := netspace.Delete(name, "label of a test"); err != nil || netspace.Exists(name) {
		t.Errorf("removing a name that nothing is bound to: %v", err)
	}
}

func TestDoComesBackToWhereItWas(t *testing.T) {
	name := create(t, "b")
	here, err := os.Readlink("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		var there string
		if err := netspace.Do(name, func() (err error) {
			there, err = os.Readlink("/proc/thread-self/ns/net")
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if there == here {
			t.Fatal("Do ran in the namespace of the caller")
		}
		if now, _ := os.Readlink("/proc/thread-self/ns/net"); now != here {
			t.Fatalf("after Do a thread is in %s, not %s", now, here)
		}
	}
}

func TestPidsFindsProcessesInside(t *testing.T) {
	name := create(t, "c")
	inode, err := netspace.Inode(name)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sleep", "60")
	if err := netspace.Do(name, cmd.Start); err != nil {
		t.Fatal(err)
	}
	pids := netspace.Pids(inode)
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	cmd.Wait()
	if len(pids) != 1 || pids[0] != cmd.Process.Pid {
		t.Errorf("processes inside: %v, want [%d]", pids, cmd.Process.Pid)
	}
}

func TestOffloadOff(t *testing.T) {
	name := create(t, "d")
	h, err := netspace.Handle(name)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "a"}, PeerName: "b"}); err != nil {
		t.Fatal(err)
	}
	if on, err := netspace.TxChecksumOffload(name, "a"); err != nil || !on {
		t.Fatalf("a fresh veth offloads checksums: %v, %v; this test would prove nothing", on, err)
	}
	if err := netspace.OffloadOff(name, "a"); err != nil {
		t.Fatal(err)
	}
	if on, err := netspace.TxChecksumOffload(name, "a"); err != nil || on {
		t.Errorf("after OffloadOff checksums are offloaded: %v, %v", on, err)
	}
	if err := netspace.OffloadOff(name, "no-such-device"); err == nil {
		t.Error("no error for a device that does not exist")
	}
}

func TestSetSysctlActsInsideOnly(t *testing.T) {
	name := create(t, "e")
	before, err := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if err != nil {
		t.Fatal(err)
	}
	want := "1"
	if string(before[0]) == "1" {
		want = "0"
	}
	if err := netspace.SetSysctl(name, "ipv4/ip_forward="+want); err != nil {
		t.Fatal(err)
	}
	after, _ := os.ReadFile("/proc/sys/net/ipv4/ip_forward")
	if string(after) != string(before) {
		t.Error("the caller's namespace was changed")
	}
	var inside []byte
	netspace.Do(name, func() (err error) { inside, err = os.ReadFile("/proc/sys/net/ipv4/ip_forward"); return err })
	if string(inside[0]) != want {
		t.Errorf("inside it is %q, want %s", inside, want)
	}
}
