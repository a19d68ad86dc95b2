//go:build linux

package testbed_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/netspace"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// leftovers returns what is still there of a testbed.
func leftovers(t *testing.T, root, name string) []string {
	t.Helper()
	var left []string
	if entries, err := os.ReadDir(netspace.Dir); err == nil {
		for _, e := range entries {
			if strings.HasPrefix(e.Name(), testbed.NamespacePrefix+name+".") {
				left = append(left, "namespace "+e.Name())
			}
		}
	}
	dir := filepath.Join(root, name)
	if _, err := os.Stat(dir); err == nil {
		left = append(left, dir)
	}
	cmdlines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range cmdlines {
		if b, err := os.ReadFile(path); err == nil && bytes.Contains(b, []byte(dir+"/")) {
			left = append(left, path+": "+string(bytes.ReplaceAll(b, []byte{0}, []byte{' '})))
		}
	}
	return left
}

const crashVariable = "NVGRE_TEST_BUILD_AND_CRASH"

// TestCrashHelper is the process that [TestCrashedUpIsRemoved] kills.
func TestCrashHelper(t *testing.T) {
	args := strings.Fields(os.Getenv(crashVariable))
	if len(args) != 2 {
		t.Skip("not by itself")
	}
	plan := load(t, "examples/hnv-blue-red.yaml", args[1])
	_, err := testbed.Build(context.Background(), plan, testbed.Options{Root: args[0], Datapath: testbed.DatapathNetdev})
	fmt.Println("built:", err)
}

func TestCrashedUpIsRemoved(t *testing.T) {
	ovstest.Require(t, "nft", "ip")
	for i, after := range []time.Duration{20, 60, 120, 200, 300, 450} {
		root, name := shortRoot(t), fmt.Sprintf("t-crash%d", i)
		cmd := exec.Command(os.Args[0], "-test.run=^TestCrashHelper$", "-test.v")
		cmd.Env = append(os.Environ(), crashVariable+"="+root+" "+name)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// The clock starts with the first thing that can be left behind.
		waitFor(t, "the state file", func() bool {
			_, err := os.Stat(filepath.Join(root, name, "state.json"))
			return err == nil
		})
		time.Sleep(after * time.Millisecond) // a random moment is the point here
		cmd.Process.Kill()
		cmd.Wait()
		tb, err := testbed.Open(root, name)
		if err != nil {
			t.Fatalf("killed after %d ms: %v", after, err)
		}
		phase := tb.Phase()
		if err := tb.Remove(t.Context(), nil); err != nil {
			t.Errorf("killed after %d ms (%s): %v", after, phase, err)
		}
		// Commands that were under way die with their parent, a moment later.
		var left []string
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if left = leftovers(t, root, name); len(left) == 0 {
				break
			}
		}
		if len(left) > 0 {
			t.Errorf("killed after %d ms (%s), these are left:\n%s", after, phase, strings.Join(left, "\n"))
		}
	}
}

func TestInterruptedUpLeavesNothing(t *testing.T) {
	ovstest.Require(t, "nft", "ip")
	plan := load(t, "examples/hnv-blue-red.yaml", "t-interrupt")
	for _, n := range []int{0, 1, 2, 4} { // the context ends when so much has been done
		root := shortRoot(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := 0
		if n == 0 {
			cancel()
		}
		tb, err := testbed.Build(ctx, plan, testbed.Options{Root: root, Datapath: testbed.DatapathNetdev, Progress: func(string) {
			if done++; done == n {
				cancel()
			}
		}})
		cancel()
		if err == nil || tb != nil {
			t.Errorf("after %d steps: %v, %v, want an error", n, tb, err)
		}
		if left := leftovers(t, root, plan.Name); len(left) > 0 {
			t.Errorf("interrupted after %d steps, these are left:\n%s", n, strings.Join(left, "\n"))
		}
	}
}

func TestTestbedsCoexist(t *testing.T) {
	root := shortRoot(t)
	one := up(t, load(t, "examples/hnv-blue-red.yaml", "t-one"), testbed.Options{Root: root})
	two := up(t, load(t, "examples/hnv-blue-red.yaml", "t-two"), testbed.Options{Root: root})
	handFlows(t, one)
	handFlows(t, two)
	if _, err := testbed.Open(root, ""); err == nil || !strings.Contains(err.Error(), "t-one or --name t-two") {
		t.Errorf("which one of two: %v", err)
	}
	if _, err := testbed.Build(t.Context(), load(t, "examples/hnv-blue-red.yaml", "t-one"), testbed.Options{Root: root}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("the same again: %v", err)
	}
	if _, err := testbed.Build(t.Context(), load(t, "examples/hnv-blue-red.yaml", "t-one"), testbed.Options{Root: shortRoot(t)}); err == nil || !strings.Contains(err.Error(), "exists already") {
		t.Errorf("the same elsewhere: %v", err)
	}
	for _, tb := range []*testbed.Testbed{one, two} {
		if m, _ := ping(t, tb); m.Differences != 0 {
			t.Errorf("%s:\n%s", tb.Name(), table(t, m))
		}
	}
	if err := one.Remove(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	if left := leftovers(t, root, "t-one"); len(left) > 0 {
		t.Errorf("left of the first:\n%s", strings.Join(left, "\n"))
	}
	if m, _ := ping(t, two); m.Differences != 0 || m.Resent != 0 {
		t.Errorf("the second after the end of the first:\n%s", table(t, m))
	}
}

func TestDownTouchesOnlyItsOwn(t *testing.T) {
	root := shortRoot(t)
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-own"), testbed.Options{Root: root})
	// Somebody takes a VM's namespace away and makes another of its name.
	name := tb.VMNamespace("Red1")
	label, err := netspace.Label(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := netspace.Delete(name, label); err != nil {
		t.Fatal(err)
	}
	if _, err := netspace.Create(name, "somebody else's"); err != nil {
		t.Fatal(err)
	}
	sleep := exec.Command("sleep", "60")
	if err := netspace.Do(name, sleep.Start); err != nil {
		t.Fatal(err)
	}
	err = tb.Remove(t.Context(), nil)
	if !errors.Is(err, netspace.ErrForeign) {
		t.Errorf("removing a testbed with a foreign namespace: %v, want ErrForeign", err)
	}
	if sleep.Process.Signal(syscall.Signal(0)) != nil || !netspace.Exists(name) {
		t.Error("the foreign namespace, or the process in it, is gone")
	}
	sleep.Process.Kill()
	sleep.Wait()
	if err := netspace.Delete(name, "somebody else's"); err != nil {
		t.Fatal(err)
	}
	if err := tb.Remove(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if left := leftovers(t, root, "t-own"); len(left) > 0 {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
}

func TestDownEndsProcessesInside(t *testing.T) {
	root := shortRoot(t)
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-procs"), testbed.Options{Root: root})
	inside := exec.Command("sh", "-c", `trap "" TERM; while :; do sleep 1; done`) // does not listen to reason
	if err := netspace.Do(tb.VMNamespace("Red1"), inside.Start); err != nil {
		t.Fatal(err)
	}
	adopted := exec.Command("sleep", "60")
	if err := adopted.Start(); err != nil {
		t.Fatal(err)
	}
	if err := tb.Adopt(adopted.Process.Pid); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { inside.Wait(); adopted.Wait(); close(ended) }()
	if err := tb.Remove(t.Context(), nil); err != nil {
		t.Error(err)
	}
	select {
	case <-ended:
	case <-time.After(5 * time.Second):
		t.Error("a process is still there")
	}
	if left := leftovers(t, root, "t-procs"); len(left) > 0 {
		t.Errorf("left:\n%s", strings.Join(left, "\n"))
	}
}

func TestLinksGoDownAndUp(t *testing.T) {
	plan := load(t, "examples/hnv-blue-red.yaml", "t-links")
	plan.Links = []topology.Link{{Node: "Red1", Down: true}, {Node: "Blue2", RateMbps: 10}}
	tb := up(t, plan, testbed.Options{})
	handFlows(t, tb)
	reach := func(from, to string, want bool) {
		t.Helper()
		if code, out := run(t, tb, from, "ping", "-c1", "-W1", "-q", to); (code == 0) != want {
			t.Errorf("%s reaches %s: %v, want %v\n%s", from, to, code == 0, want, out)
		}
	}
	link := func(node string, up bool) {
		t.Helper()
		if err := tb.SetLink(node, up); err != nil {
			t.Fatal(err)
		}
		waitFor(t, "the link to change", func() bool { now, err := tb.LinkUp(node); return err == nil && now == up })
	}
	reach("Red1", "10.0.0.7", false)
	link("Red1", true)
	back := func(from string) {
		t.Helper()
		waitFor(t, "the way to be back", func() bool {
			code, _ := run(t, tb, from, "ping", "-c1", "-W1", "-q", "10.0.0.7")
			return code == 0
		})
	}
	back("Red1")
	for _, node := range []string{"host2", "Blue1", "Blue/Blue1"} {
		reach("Blue1", "10.0.0.7", true)
		link(node, false)
		reach("Blue1", "10.0.0.7", false)
		link(node, true)
		back("Blue1")
	}
	if err := tb.SetLink("nobody", true); err == nil || !strings.Contains(err.Error(), "testbed inspect") {
		t.Errorf("the link of nobody: %v", err)
	}
	from, _ := plan.FindVM("Blue2", "")
	to, _ := plan.FindVM("Blue1", "")
	if r, err := tb.Throughput(t.Context(), from, to, time.Second); err != nil || r.MbitPerSecond() > 20 || r.MbitPerSecond() < 1 {
		t.Errorf("a link of 10 Mbit/s carries %.1f (%v)", r.MbitPerSecond(), err)
	}
}

func TestVMsMoveComeAndGo(t *testing.T) {
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-change"), testbed.Options{})
	ctx := t.Context()
	check := func(what string) {
		t.Helper()
		handFlows(t, tb)
		if m, _ := ping(t, tb); m.Differences != 0 {
			t.Errorf("after %s:\n%s", what, table(t, m))
		}
	}
	if err := tb.Move(ctx, "Blue1", "host2"); err != nil {
		t.Fatal(err)
	}
	check("a move")
	if err := tb.Unplug(ctx, "Red1"); err != nil {
		t.Fatal(err)
	}
	if len(tb.Plan().VMs) != 3 || netspace.Exists(tb.VMNamespace("Red1")) {
		t.Error("the VM is still there")
	}
	check("a VM's end")
	if err := tb.Plug(ctx, "Red1", ""); err != nil {
		t.Fatal(err)
	}
	if err := tb.Move(ctx, "Blue1", "host1"); err != nil {
		t.Fatal(err)
	}
	check("a VM's return")
	if err := tb.Plug(ctx, "Red1", ""); err == nil {
		t.Error("a VM was plugged in twice")
	}
	if err := tb.Plug(ctx, "Green1", ""); err == nil || !strings.Contains(err.Error(), "no record") {
		t.Errorf("a VM of no policy: %v", err)
	}
}

func TestExec(t *testing.T) {
	tb := up(t, load(t, "examples/hnv-blue-red.yaml", "t-exec"), testbed.Options{})
	if code, _ := run(t, tb, "Blue1", "sh", "-c", "exit 7"); code != 7 {
		t.Errorf("exit code %d, want 7", code)
	}
	if code, _ := run(t, tb, "Blue1", "sh", "-c", "kill -9 $$"); code != 128+9 {
		t.Errorf("exit code %d, want 137", code)
	}
	var out bytes.Buffer
	if _, err := tb.Exec(t.Context(), "Blue1", testbed.Command{Args: []string{"cat"}, Stdin: strings.NewReader("through"), Stdout: &out}); err != nil || out.String() != "through" {
		t.Errorf("input and output: %q, %v", out.String(), err)
	}
	if code, out := run(t, tb, "host1", "ovs-appctl", "version"); code != 0 {
		t.Errorf("ovs-appctl on a host: %s", out)
	}
	if _, err := tb.Exec(t.Context(), "Blue1", testbed.Command{Args: []string{"no-such-command"}}); err == nil {
		t.Error("no error for a command that does not exist")
	}
	var unknown *topology.UnknownNodeError
	if _, err := tb.Exec(t.Context(), "Green1", testbed.Command{Args: []string{"true"}}); !errors.As(err, &unknown) {
		t.Errorf("an unknown VM: %v", err)
	}
}

func TestPathsOfSocketsMustFit(t *testing.T) {
	ovstest.Require(t, "nft", "ip")
	root := filepath.Join(shortRoot(t), strings.Repeat("x", 80))
	_, err := testbed.Build(t.Context(), load(t, "examples/hnv-blue-red.yaml", "t-long"), testbed.Options{Root: root})
	if err == nil || !strings.Contains(err.Error(), "shorter --state-dir") {
		t.Errorf("a long state directory: %v", err)
	}
}
