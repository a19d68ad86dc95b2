package drive

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// buildDir is where the binary is built; [Main] makes and removes it.
var buildDir string

// Binary builds nvgre-ofctl, once for all tests, and returns its path.
var Binary = sync.OnceValues(func() (string, error) {
	if buildDir == "" {
		return "", errors.New("drive.Main has not been called: call it from TestMain")
	}
	path := filepath.Join(buildDir, "nvgre-ofctl")
	out, err := exec.Command("go", "build", "-buildvcs=false", "-o", path, "github.com/nvgre-ofctl/nvgre-ofctl/cmd/nvgre-ofctl").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go build: %w: %s", err, out)
	}
	return path, nil
})

// Main runs the tests of a package that uses this one and returns the exit code.
func Main(m *testing.M) int {
	var err error
	if buildDir, err = os.MkdirTemp("", "drive-bin"); err != nil {
		panic(err)
	}
	defer os.RemoveAll(buildDir)
	return m.Run()
}

// beds counts the testbeds of this process, for their names.
var beds atomic.Int64

// A Bed is a testbed with a policy file of its own that a test may edit. It ends
// with the test that made it.
type Bed struct {
	*testbed.Testbed
	In     *testbed.Inspection // as the testbed was when it was made
	Root   string              // directory of its files
	Policy string              // path of the policy file

	t      testing.TB
	binary string
}

// Up builds a testbed of a topology file and the policy file beside it, of which
// it takes copies. Settings are lines for the controller's settings file.
func Up(t testing.TB, topologyFile string, settings ...string) *Bed {
	t.Helper()
	policyFile := strings.TrimSuffix(topologyFile, ".yaml") + ".policy.yaml"
	var text [2]string
	for i, f := range []string{topologyFile, policyFile} {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		text[i] = string(b)
	}
	return up(t, strings.TrimSuffix(filepath.Base(topologyFile), ".yaml"), text[0], text[1], settings)
}

// UpText builds a testbed of the text of a policy file, and of a topology file
// without its key policy. Settings are lines for the controller's settings file.
func UpText(t testing.TB, policy, topology string, settings ...string) *Bed {
	t.Helper()
	return up(t, "bed", "policy: bed.policy.yaml\n"+topology, policy, settings)
}

func up(t testing.TB, name, top, policy string, settings []string) *Bed {
	t.Helper()
	ovstest.Require(t)
	bin, err := Binary()
	if err != nil {
		t.Fatal(err)
	}
	// Not t.TempDir: its path can exceed what a unix socket's address holds.
	root, err := os.MkdirTemp("", "bed")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	b := &Bed{Root: root, Policy: filepath.Join(root, name+".policy.yaml"), t: t, binary: bin}
	for file, text := range map[string]string{filepath.Join(root, name+".yaml"): top, b.Policy: policy} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := topology.Load(filepath.Join(root, name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	plan.Name = fmt.Sprintf("bed%d-%d", os.Getpid(), beds.Add(1))
	b.Testbed, err = testbed.Build(t.Context(), plan, testbed.Options{Root: b.StateRoot()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Remove(context.Background(), nil); err != nil {
			t.Error(err)
		}
	})
	b.In = b.Inspect()
	f, err := os.OpenFile(b.Settings(), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, s := range settings {
		fmt.Fprintln(f, s)
	}
	return b
}

// StateRoot returns the directory that `nvgre-ofctl testbed --state-dir` names.
func (b *Bed) StateRoot() string { return filepath.Join(b.Root, "s") }

// With returns the same testbed for another test, a part of the one that made it:
// failures are reported there.
func (b *Bed) With(t testing.TB) *Bed {
	c := *b
	c.t = t
	return &c
}

// CLI runs nvgre-ofctl and returns its output and exit code.
func (b *Bed) CLI(args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	return Run(b.t, b.binary, args...)
}

// OnHost runs nvgre-ofctl on a host of the testbed.
func (b *Bed) OnHost(host string, args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	var out, errs bytes.Buffer
	code, err := b.Exec(b.t.Context(), host, testbed.Command{Args: append([]string{b.binary}, args...), Stdout: &out, Stderr: &errs})
	if err != nil {
		b.t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

// TestbedCLI runs a subcommand of `nvgre-ofctl testbed` on this testbed.
func (b *Bed) TestbedCLI(args ...string) (stdout, stderr string, code int) {
	b.t.Helper()
	return b.CLI(append([]string{"testbed", "--state-dir", b.StateRoot(), "--name", b.Name()}, args...)...)
}

// Run runs a program and returns its output and exit code.
func Run(t testing.TB, program string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// VM returns a VM by its iface-id.
func (b *Bed) VM(iface string) testbed.VMInspection {
	b.t.Helper()
	for _, v := range b.In.VMs {
		if v.IfaceID == iface {
			return v
		}
	}
	b.t.Fatalf("no VM %s", iface)
	return testbed.VMInspection{}
}

// HostNamed returns a host by its name.
func (b *Bed) HostNamed(name string) testbed.HostInspection {
	b.t.Helper()
	for _, h := range b.In.Hosts {
		if h.Name == name {
			return h
		}
	}
	b.t.Fatalf("no host %s", name)
	return testbed.HostInspection{}
}

// Edit replaces text in the policy file, as an editor does: a new file takes
// the old one's place.
func (b *Bed) Edit(oldnew ...string) {
	b.t.Helper()
	text := b.ReadPolicy()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(text, oldnew[i]) {
			b.t.Fatalf("the policy has no %q", oldnew[i])
		}
	}
	b.WritePolicy(strings.NewReplacer(oldnew...).Replace(text))
}

// WritePolicy writes a new policy file in the old one's place.
func (b *Bed) WritePolicy(text string) {
	b.t.Helper()
	tmp := b.Policy + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		b.t.Fatal(err)
	}
	if err := os.Rename(tmp, b.Policy); err != nil {
		b.t.Fatal(err)
	}
}

// ReadPolicy returns the text of the policy file.
func (b *Bed) ReadPolicy() string {
	b.t.Helper()
	text, err := os.ReadFile(b.Policy)
	if err != nil {
		b.t.Fatal(err)
	}
	return string(text)
}

// Until waits for a condition, and fails the test when it does not come.
func Until(t testing.TB, limit time.Duration, what string, ok func() bool, why func() string) {
	t.Helper()
	for end := time.Now().Add(limit); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			if why != nil {
				what += ": " + why()
			}
			t.Fatalf("waited %v in vain for %s", limit, what)
		}
	}
}
