package controller_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/store/etcdtest"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// withStore makes the network's policy live in the store.
func (w *network) withStore(extra string) {
	w.t.Helper()
	w.policy = ""
	w.extra = fmt.Sprintf("store: {directory: %s}\n%s", filepath.Join(w.dir, "store"), extra)
	w.writeSettings()
}

// client returns a client of the daemon's API.
func (w *network) client() *client.Client {
	c := client.Unix(w.socket + ".api")
	w.t.Cleanup(c.Close)
	return c
}

// apply puts the policy text given in place of all that the store has.
func (w *network) apply(text string) *api.Applied {
	w.t.Helper()
	p, err := policyfile.Parse("test", []byte(text), 1)
	if err != nil {
		w.t.Fatal(err)
	}
	c := w.client()
	var applied *api.Applied
	eventually(w.t, "the API takes a policy", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		applied, err = c.Apply(ctx, slices.Collect(tenant.Diff(tenant.Empty(), p)), client.ApplyOptions{Replace: true})
		return err == nil
	})
	return applied
}

func TestPolicyFromTheStore(t *testing.T) {
	w := newNetwork(t, 3, "")
	w.withStore("")
	p := w.spawn()
	w.apply(w.policyText(threeVMs...))
	w.await("the bridges are there", func(s *admin.Status) bool { return synced(s) && len(s.Hosts) == 3 })
	w.attachFirst(3)
	st := w.await("all VMs are installed", func(s *admin.Status) bool {
		// etcd elects itself in the first second, and says so.
		return installedEverywhere(3)(s) && s.Healthy && s.Store != nil && s.Store.Connected && len(s.Elsewhere) == 0 &&
			s.Hosts[0].LagSeconds == 0
	})

	// One record by its key: one flow on each host, and a sentinel.
	c, mods := w.client(), w.mods()
	record := tenant.RecordObject{VSID: 5001, CA: mustCA(t, "10.0.9.9"), VM: "nine", MAC: tenant.MAC{2, 0, 0, 0, 9, 9}, Host: "h2"}
	if _, err := c.Apply(t.Context(), []tenant.Change{tenant.Put(record)}, client.ApplyOptions{}); err != nil {
		t.Fatal(err)
	}
	st = w.await("the record is in force", newer(st.Policy.Revision))
	eventually(t, "its flows are counted", func() bool { return minus(w.mods(), mods) == "add 3, change 0, delete 0, sentinel 3" })

	// What is wrong reaches nobody.
	record.CA = mustCA(t, "192.168.1.1")
	_, err := c.Apply(t.Context(), []tenant.Change{tenant.Put(record)}, client.ApplyOptions{})
	var bad *api.Problem
	if !errors.As(err, &bad) || bad.Status != http.StatusUnprocessableEntity {
		t.Errorf("a record outside its subnet: %v", err)
	}

	// Killed and started again, it knows all, and has nothing to send.
	before := map[string][]string{}
	for _, h := range w.names {
		before[h] = withoutSentinel(w.flows(h))
	}
	_ = p.end(syscall.SIGKILL)
	w.run()
	w.await("all is in place", func(s *admin.Status) bool {
		return installedEverywhere(3)(s) && s.Policy.Revision == st.Policy.Revision
	})
	for _, h := range w.names {
		if !slices.Equal(withoutSentinel(w.flows(h)), before[h]) {
			t.Errorf("%s: the flows differ after the restart", h)
		}
	}
	if m := w.mods(); m["add"]+m["change"]+m["delete"] != 0 {
		t.Errorf("sent: %v", m)
	}
}

func mustCA(t *testing.T, text string) tenant.CA {
	t.Helper()
	ca, err := tenant.ParseCA(text)
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// A data directory that is of no use ends the start with a clear error; the flows
// are left alone.
func TestStoreDirectoryOfNoUse(t *testing.T) {
	w := newNetwork(t, 1, "")
	w.withStore("")
	first := w.spawn()
	w.apply(w.policyText(threeVMs[0]))
	w.await("the bridge is there", synced)
	w.attachFirst(1)
	w.await("the VM is installed", installedEverywhere(1))
	_ = first.end(syscall.SIGTERM)
	before := w.flows("h1")
	if err := os.RemoveAll(filepath.Join(w.dir, "store")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(w.dir, "store"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := w.spawn()
	<-p.done
	if p.err == nil || !strings.Contains(p.log.String(), filepath.Join(w.dir, "store")) {
		t.Errorf("%v: %s", p.err, p.log)
	}
	if !slices.Equal(w.flows("h1"), before) {
		t.Error("the flows have changed")
	}
}

func TestPolicyFileIsTheOnlyWriter(t *testing.T) {
	w := bring(t, 1, "")
	w.run()
	w.await("sync", synced)
	_, err := w.client().Apply(t.Context(), []tenant.Change{tenant.Delete(tenant.SubnetKey(5001))}, client.ApplyOptions{})
	if err == nil || !strings.Contains(err.Error(), "policy is read from a file") {
		t.Errorf("a change beside the file: %v", err)
	}
}

// withExternalStore makes the network's policy live in an etcd outside, which
// wants certificates and users.
func (w *network) withExternalStore(server *etcdtest.Server, password string) {
	w.t.Helper()
	certificate, key := server.Authority.Sign("c1")
	secret := filepath.Join(w.dir, "password")
	if err := os.WriteFile(secret, []byte(password+"\n"), 0o600); err != nil {
		w.t.Fatal(err)
	}
	w.policy = ""
	w.extra = fmt.Sprintf("lease: 2s\nstore:\n  endpoints: %s\n  tls: {ca: %s, certificate: %s, private-key: %s}\n  username: %s\n  password-file: %s\n",
		server.URL, server.Authority.File(), certificate, key, etcdtest.Controller, secret)
	w.writeSettings()
}

// The whole daemon on an etcd outside with TLS, certificates and users. While
// that is down, changes are refused and the flows stay.
func TestPolicyInAnExternalStore(t *testing.T) {
	w := newNetwork(t, 2, "")
	server := etcdtest.Start(t, etcdtest.Options{TLS: true, ClientCertificates: true, Users: true, Prefix: store.DefaultPrefix})
	w.withExternalStore(server, etcdtest.Password(etcdtest.Controller))
	w.spawn()

	w.apply(w.policyText(threeVMs[:2]...))
	w.await("the bridges are there", func(s *admin.Status) bool { return synced(s) && len(s.Hosts) == 2 })
	w.attachFirst(2)
	w.await("both VMs are installed", func(s *admin.Status) bool { return installedEverywhere(2)(s) && s.Store.Connected })
	before := map[string][]string{}
	for _, h := range w.names {
		before[h] = w.flows(h)
	}
	server.Kill()
	w.await("the status says why", func(s *admin.Status) bool {
		return !s.Store.Connected && strings.Contains(s.Store.Error, "is etcd running?")
	})
	var p *api.Problem
	_, err := w.client().Apply(t.Context(), []tenant.Change{tenant.Delete(tenant.RecordKey(5001, mustCA(t, "10.0.1.11")))}, client.ApplyOptions{})
	if !errors.As(err, &p) || p.Type != api.TypeUnavailable {
		t.Errorf("a change without etcd: %v", err)
	}
	for _, h := range w.names {
		if !slices.Equal(w.flows(h), before[h]) {
			t.Errorf("%s: the flows have changed", h)
		}
	}
	server.Restart()
	w.await("all is well", func(s *admin.Status) bool { return installedEverywhere(2)(s) && s.Store.Connected && !s.Store.Frozen })
	w.apply(w.policyText(threeVMs...))
	w.await("the change is in place", func(s *admin.Status) bool { return synced(s) && s.Policy.Records == 3 })
}

// A daemon that etcd does not know starts all the same, and says what to do.
func TestExternalStoreRefuses(t *testing.T) {
	w := newNetwork(t, 1, "")
	server := etcdtest.Start(t, etcdtest.Options{TLS: true, ClientCertificates: true, Users: true, Prefix: store.DefaultPrefix})
	w.withExternalStore(server, "wrong")
	w.spawn()
	w.await("the status to say what is wrong", func(s *admin.Status) bool {
		return s.Store != nil && strings.Contains(s.Store.Error, "store.password-file") && !s.Healthy
	})
}
