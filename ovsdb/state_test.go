package ovsdb

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestAttachmentsComeChangeAndGo(t *testing.T) {
	sw, h := startSwitch(t)
	vsctl(t, sw, "add-br", "br-phy", "--", "set", "open_vswitch", ".",
		"external_ids:system-id=s1", "external_ids:hostname=rack1", `external_ids:nvgre-encap-ip="10.99.0.1, fd00::1,bad"`, "ovs_version=3.1.0")
	ensure(t, h, Config{})
	addVM(t, sw, "br-int", "p2", "iface-id=web2", "attached_mac=02:00:00:00:00:02", "vm-uuid=u2", "iface-status=inactive")
	addVM(t, sw, "br-int", "p1", "iface-id=web1", "attached-mac=02:00:00:00:00:01", "vm-id=u1")
	addVM(t, sw, "br-int", "p3", "iface-id=web1")
	addVM(t, sw, "br-int", "plain")
	addVM(t, sw, "br-phy", "p4", "iface-id=elsewhere")

	s := eventually(t, h, "three attachments with ports", func(s State) bool {
		n := 0
		for _, a := range s.Attachments {
			if a.OFPort != 0 {
				n++
			}
		}
		return n == 3
	})
	for i := range s.Attachments {
		s.Attachments[i].OFPort = 0
	}
	want := []Attachment{
		{IfaceID: "web1", Interface: "p1", MAC: "02:00:00:00:00:01", VMID: "u1"},
		{IfaceID: "web1", Interface: "p3"},
		{IfaceID: "web2", Interface: "p2", MAC: "02:00:00:00:00:02", VMID: "u2", Inactive: true},
	}
	if d := cmp.Diff(want, s.Attachments); d != "" {
		t.Errorf("attachments (-want +got):\n%s", d)
	}
	if s.SystemID != "s1" || s.Hostname != "rack1" || len(s.EncapIPs) != 2 || s.EncapIPs[1].String() != "fd00::1" || s.Version != "3.1.0" {
		t.Errorf("the host's description: %+v", s)
	}
	if len(s.Problems) != 1 || !strings.Contains(s.Problems[0], `"bad"`) {
		t.Errorf("problems %q, want one about nvgre-encap-ip", s.Problems)
	}

	vsctl(t, sw, "set", "interface", "p1", "external_ids:iface-id=web9", "--", "del-port", "p3", "--", "remove", "interface", "p2", "external_ids", "iface-id")
	eventually(t, h, "the changes", func(s State) bool {
		return len(s.Attachments) == 1 && s.Attachments[0].IfaceID == "web9"
	})
}

func TestAttachmentThatCannotBeSetUp(t *testing.T) {
	sw, h := startSwitch(t)
	ensure(t, h, Config{})
	vsctl(t, sw, "--no-wait", "add-port", "br-int", "bad0", "--", "set", "interface", "bad0", "type=nonesuch", "external_ids:iface-id=bad")
	s := eventually(t, h, "an error", func(s State) bool { return len(s.Attachments) == 1 && s.Attachments[0].Error != "" })
	if a := s.Attachments[0]; a.OFPort != 0 {
		t.Errorf("attachment %+v has an error and a port", a)
	}
	// Mended, it has a port and no error.
	vsctl(t, sw, "set", "interface", "bad0", "type=dummy")
	eventually(t, h, "a port", func(s State) bool { return s.Attachments[0].Error == "" && s.Attachments[0].OFPort != 0 })
}

// The dummy datapath sets up every gre port, so these rows are made by hand.
func TestGrePortThatCannotBeSetUp(t *testing.T) {
	text, none := "could not add network device nvgre0 to ofproto (File exists)", -1
	db := rowsDB(t,
		&bridgeRow{UUID: "b", Name: "br-int", Ports: []string{"p"}, ExternalIDs: map[string]string{Label: purposeBridge}},
		&portRow{UUID: "p", Name: "nvgre0", Interfaces: []string{"i"}, ExternalIDs: map[string]string{Label: purposeTunnel}},
		&interfaceRow{UUID: "i", Name: "nvgre0", OFPort: &none, Error: &text},
	)
	s := observe("h1", db, "br-int")
	if s.TunnelOFPort != 0 || len(s.Problems) != 1 || !strings.Contains(s.Problems[0], "h1: gre port nvgre0: "+text) {
		t.Errorf("state %+v", s)
	}
}

func TestMarkInstalled(t *testing.T) {
	sw, h := startSwitch(t)
	ensure(t, h, Config{})
	addVM(t, sw, "br-int", "p1", "iface-id=web1", "keep=me")
	addVM(t, sw, "br-int", "p2", "iface-id=web2")
	eventually(t, h, "two attachments", func(s State) bool { return len(s.Attachments) == 2 })
	mark := func(m map[string]string) {
		t.Helper()
		if err := h.MarkInstalled(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	installed := func(n int, want string) {
		t.Helper()
		if got := h.State().Attachments[n].Installed; got != want {
			t.Errorf("attachment %d: installed %q, want %q", n, got, want)
		}
	}
	mark(map[string]string{"p1": "7", "p2": "7", "gone": "7"})
	installed(0, "7")
	mark(map[string]string{"p1": "8", "p2": ""})
	installed(0, "8")
	installed(1, "")
	if got := vsctl(t, sw, "get", "interface", "p1", "external_ids"); got != `{iface-id=web1, keep=me, nvgre-installed="8"}` {
		t.Errorf("external_ids %s", got)
	}
	// It vanishes between our look and the transaction.
	vsctl(t, sw, "del-port", "p1")
	mark(map[string]string{"p1": "9"})
}

func TestStateIsASnapshot(t *testing.T) {
	sw, h := startSwitch(t)
	ensure(t, h, Config{})
	addVM(t, sw, "br-int", "p1", "iface-id=web1")
	s := eventually(t, h, "an attachment", func(s State) bool { return len(s.Attachments) == 1 })
	s.Attachments[0].IfaceID = "spoilt"
	if h.State().Attachments[0].IfaceID != "web1" {
		t.Error("a reader changed the state")
	}
}

func TestWithoutAConnection(t *testing.T) {
	h := NewHost("h1", unix("/nonexistent/db.sock"), nil, discard())
	if s := h.State(); s.Connected || s.ConnError == nil {
		t.Errorf("state %+v", s)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Run(ctx) }()
	eventually(t, h, "the reason", func(s State) bool { return strings.Contains(errorText(s.ConnError), "no such file") })
	if err := h.Ensure(ctx, Config{}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("Ensure: %v", err)
	}
	cancel()
	<-ended
}
