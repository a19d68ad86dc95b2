package controller_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// pki is what docs/REMOTE.md has the operator make, by the same commands.
type pki struct{ dir string }

func newPKI(t testing.TB) pki {
	t.Helper()
	ovstest.Require(t, "ovs-pki", "openssl")
	dir, err := os.MkdirTemp("", "pki")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := pki{dir}
	p.run(t, "init")
	p.run(t, "-u", "req+sign", "controller", "controller")
	p.run(t, "-u", "req+sign", "h1", "switch")
	return p
}

func (p pki) run(t testing.TB, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), "ovs-pki", append([]string{"-d", p.file("pki"), "-l", p.file("log"), "-B", "2048"}, args...)...)
	c.Dir = p.dir
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("ovs-pki %v: %v: %s", args, err, out)
	}
}

func (p pki) file(name string) string { return filepath.Join(p.dir, name) }

// startRemote starts a switch whose ovsdb-server takes its remotes and keys from
// the database, as the packages of Linux distributions start it.
func startRemote(t testing.TB) *ovsproc.Switch {
	t.Helper()
	return ovstest.Start(t, ovsproc.OVSDBArgs("--remote=db:Open_vSwitch,Open_vSwitch,manager_options",
		"--private-key=db:Open_vSwitch,SSL,private_key", "--certificate=db:Open_vSwitch,SSL,certificate", "--bootstrap-ca-cert=db:Open_vSwitch,SSL,ca_cert"))
}

// remote is one host that is reached over the network.
type remote struct {
	*network
	method       string // tcp or ssl
	ovsdb, flows int    // ports

}

func newRemote(t testing.TB, method string) *remote {
	t.Helper()
	s := startRemote(t)
	dir, err := os.MkdirTemp("", "ctl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	r := &remote{method: method, ovsdb: ovstest.FreePort(t), flows: ovstest.FreePort(t), network: &network{
		t: t, dir: dir, names: []string{"h1"}, hosts: map[string]*ovsproc.Switch{"h1": s},
		policy: filepath.Join(dir, "policy.yaml"), settings: filepath.Join(dir, "nvgre.yaml"), socket: filepath.Join(dir, "admin.sock"),
	}}
	r.setPolicy(threeVMs[0])
	return r
}

func (r *remote) configure(ca, certificate, key string, host string) {
	r.t.Helper()
	tls := ""
	if ca != "" {
		tls = fmt.Sprintf("tls: {ca: %s, certificate: %s, private-key: %s}\n", ca, certificate, key)
	}
	r.write(r.settings, fmt.Sprintf("policy: %s\nadmin-socket: %s\npolicy-settle: 20ms\nreconnect-max: 200ms\n%shosts:\n  - {name: h1, %s}\n",
		r.policy, r.socket, tls, host))
}

// beside says how the host is reached from itself, without a listener.
func (r *remote) beside() string {
	s := r.hosts["h1"]
	return fmt.Sprintf("ovsdb: 'unix:%s', openflow: 'unix:%s'", s.DBSock(), s.MgmtSock("br-int"))
}

// afar says how it is reached over the network.
func (r *remote) afar() string {
	return fmt.Sprintf("ovsdb: '%s:127.0.0.1:%d', openflow: '%s:127.0.0.1:%d', listener: 'p%s:%d:127.0.0.1'",
		r.method, r.ovsdb, r.method, r.flows, r.method, r.flows)
}

// TestRemoteHost: a host that is driven from beside is driven from afar, and
// then from beside again. Setting the listener and taking it away flushes
// nothing, and each daemon finds the flows of the one before.
func TestRemoteHost(t *testing.T) {
	for _, method := range []string{"tcp", "ssl"} {
		t.Run(method, func(t *testing.T) {
			var p pki
			r := newRemote(t, method)
			args := []string{}
			ca, cert, key := "", "", ""
			if method == "ssl" {
				p = newPKI(t)
				r.vsctl("h1", "set-ssl", p.file("h1-privkey.pem"), p.file("h1-cert.pem"), p.file("pki/controllerca/cacert.pem"))
				ca, cert, key = p.file("pki/switchca/cacert.pem"), p.file("controller-cert.pem"), p.file("controller-privkey.pem")
			}
			r.vsctl("h1", append(args, "set-manager", fmt.Sprintf("p%s:%d:127.0.0.1", method, r.ovsdb))...)

			r.configure(ca, cert, key, r.beside())
			stop := r.run()
			r.await("the bridge is there", synced)
			r.attach("h1", "web1")
			r.await("the VM is installed", installedEverywhere(1))
			if _, err := r.hosts["h1"].Ofctl(t.Context(), "add-flow", "br-int", "table=7,priority=3,cookie=0x77 actions=drop"); err != nil {
				t.Fatal(err)
			}
			stop()
			want := withoutSentinel(r.network.flows("h1"))

			for _, how := range []struct{ name, host, listener string }{
				{"afar", r.afar(), fmt.Sprintf("p%s:%d:127.0.0.1", method, r.flows)},
				{"beside", r.beside(), ""},
			} {
				r.configure(ca, cert, key, how.host)
				stop := r.run()
				r.await("the VM is known to work from "+how.name, func(s *admin.Status) bool { return installedEverywhere(1)(s) && s.Healthy })
				if got := minus(r.mods(), nil); got != "add 0, change 0, delete 0, sentinel 1" {
					t.Errorf("from %s: %s", how.name, got)
				}
				eventually(t, "the listener is "+how.listener, func() bool { return r.vsctl("h1", "get-controller", "br-int") == how.listener })
				if got := withoutSentinel(r.network.flows("h1")); !slices.Equal(got, want) {
					t.Errorf("from %s: flows are\n%s\nwant\n%s", how.name, strings.Join(got, "\n"), strings.Join(want, "\n"))
				}
				stop()
			}
		})
	}
}

// TestRemoteHostFromNothing: the daemon itself sets a new host up over ssl, and
// a policy's change arrives there.
func TestRemoteHostFromNothing(t *testing.T) {
	r, p := newRemote(t, "ssl"), newPKI(t)
	r.vsctl("h1", "set-ssl", p.file("h1-privkey.pem"), p.file("h1-cert.pem"), p.file("pki/controllerca/cacert.pem"))
	r.vsctl("h1", "set-manager", fmt.Sprintf("pssl:%d:127.0.0.1", r.ovsdb))
	r.configure(p.file("pki/switchca/cacert.pem"), p.file("controller-cert.pem"), p.file("controller-privkey.pem"), r.afar())
	stop := r.run()
	st := r.await("the host is set up", synced)
	r.attach("h1", "web1")
	r.await("the VM is installed", installedEverywhere(1))
	r.setPolicy(threeVMs[0], vm{"web9", "10.0.1.19", ""})
	r.await("the change is in force", newer(st.Policy.Revision))
	if fs := strings.Join(r.network.flows("h1"), "\n"); !strings.Contains(fs, "reg11=0xa00010b") || !strings.Contains(fs, "reg11=0xa000113") {
		t.Errorf("the customer addresses are not among the flows:\n%s", fs)
	}
	stop()

	// Each of the two ways in which the certificates can be wrong is told for
	// both channels, and nothing changes.
	other := newPKI(t)
	before := r.network.flows("h1")
	for _, c := range []struct {
		name, ca, cert, key string
		want                []string
	}{
		{"the switch's authority is another", other.file("pki/switchca/cacert.pem"), p.file("controller-cert.pem"), p.file("controller-privkey.pem"),
			[]string{"is not good under the CA in " + other.file("pki/switchca/cacert.pem")}},
		{"the controller's authority is another", p.file("pki/switchca/cacert.pem"), other.file("controller-cert.pem"), other.file("controller-privkey.pem"),
			[]string{"`ovs-vsctl get-ssl` must name the CA that signed"}},
	} {
		r.configure(c.ca, c.cert, c.key, r.afar())
		stop := r.run()
		st := r.await(c.name, func(s *admin.Status) bool {
			all := strings.Join(s.Trouble, "\n")
			for _, w := range c.want {
				if strings.Count(all, w) < 2 {
					return false
				}
			}
			return true
		})
		t.Logf("%s:\n%s", c.name, strings.Join(st.Trouble, "\n"))
		stop()
	}
	if after := r.network.flows("h1"); !slices.Equal(before, after) {
		t.Errorf("daemons that were let in nowhere changed the flows from\n%s\nto\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}
