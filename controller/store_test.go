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
		return installedEverywhere(3)(s) && s.Healthy && s.Store != nil && s.Store.Connected && len(s.Elsewhere) == 0
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

func TestStoreDirectoryOfNoUse(t *testing.T) {
	w := newNetwork(t, 1, "")
	w.withStore("")
	if err := os.WriteFile(filepath.Join(w.dir, "store"), []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	p := w.spawn()
	<-p.done
	if p.err == nil || !strings.Contains(p.log.String(), filepath.Join(w.dir, "store")) {
		t.Errorf("%v: %s", p.err, p.log)
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
