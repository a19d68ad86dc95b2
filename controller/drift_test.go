package controller_test

import (
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
)

// TestDriftIsShown: what somebody does to our flows is repaired long before the
// audit, and the status and the metrics tell it in the tenant's words.
func TestDriftIsShown(t *testing.T) {
	w, _, _ := working(t, 1, "audit-interval: 0s")
	w.await("it is watched", func(s *admin.Status) bool { return synced(s) && s.Hosts[0].Monitored })
	ofctl := func(args ...string) {
		t.Helper()
		if _, err := w.hosts["h1"].Ofctl(t.Context(), args...); err != nil {
			t.Fatal(err)
		}
	}
	wanted := len(w.flows("h1"))
	ofctl("del-flows", "br-int", "table=5")
	st := w.await("the drift is told", func(s *admin.Status) bool { return len(s.Drift) > 0 })
	if d := st.Drift[0]; d.Host != "h1" || d.Kind != "deleted" || d.Owner == "" || d.RepairedSeconds <= 0 || d.RepairedSeconds > 1 || !st.Healthy {
		t.Errorf("healthy %v, %+v", st.Healthy, d)
	}
	named := false
	for _, d := range st.Drift {
		named = named || strings.Contains(d.Owner, threeVMs[0].name)
	}
	if !named {
		t.Errorf("none of these is said to be the VM's: %+v", st.Drift)
	}
	if n := len(w.flows("h1")); n != wanted {
		t.Errorf("%d flows, want %d", n, wanted)
	}
	ofctl("add-flow", "br-int", "table=5,priority=65000,cookie=0x99,actions=drop")
	st = w.await("the shadow is named", func(s *admin.Status) bool { return s.Hosts[0].FlowsShadowing > 0 })
	if st.Healthy || !strings.Contains(strings.Join(st.Trouble, "\n"), "take packets from ours") || !strings.Contains(st.Hosts[0].Shadows[0].Flow, "priority=65000") {
		t.Errorf("%q", st.Trouble)
	}
	body, err := admin.Get(t.Context(), w.socket, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`nvgre_drift_total{kind="shadowed"} 1`, `nvgre_drift_total{kind="fought"} 0`, `nvgre_host_flows{host="h1",state="shadowing"} 1`} {
		if !strings.Contains(string(body), want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
}
