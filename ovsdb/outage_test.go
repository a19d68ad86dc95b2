package ovsdb

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

// startProxied is startSwitch with a proxy between.
func startProxied(t *testing.T, opts ...Option) (*ovsproc.Switch, *Host, *proxy) {
	t.Helper()
	sw := ovstest.Start(t)
	p := startProxy(t, sw)
	h := startHost(t, unix(p.path()), nil, opts...)
	eventually(t, h, "connected", func(s State) bool { return s.Connected })
	return sw, h, p
}

func connected(s State) bool { return s.Connected }
func outage(s State) bool    { return !s.Connected }

func TestNothingToDoSendsNothing(t *testing.T) {
	sw, h, p := startProxied(t)
	for i, cfg := range []Config{
		{TableNames: map[uint8]string{0: "a", 254: "b"}, Listener: "ptcp:16653:127.0.0.1", DatapathType: "system"},
		{PortMode: PortPerVSID, VSIDs: []tenant.VSID{5001, 6001}},
	} {
		ensure(t, h, cfg)
		before := p.transacts.Load()
		if before != int64(i+1) {
			t.Errorf("%d transactions for %d configurations", before, i+1)
		}
		ensure(t, h, cfg)
		if n := p.transacts.Load() - before; n != 0 {
			t.Errorf("%d transactions to change nothing", n)
		}
	}
	addVM(t, sw, "br-int", "p1", "iface-id=web1")
	eventually(t, h, "an attachment", func(s State) bool { return len(s.Attachments) == 1 })
	before := p.transacts.Load()
	for range 3 {
		if err := h.MarkInstalled(t.Context(), map[string]string{"p1": "7", "gone": "7"}); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.transacts.Load() - before; n != 1 {
		t.Errorf("%d transactions to mark one interface thrice", n)
	}
}

func TestConcurrentChangeIsSeenBeforeWriting(t *testing.T) {
	sw, h, p := startProxied(t)
	ensure(t, h, Config{})
	run := func(cfg Config, meanwhile ...string) error {
		t.Helper()
		sent := p.transacts.Load()
		p.pause()
		vsctl(t, sw, append([]string{"--no-wait"}, meanwhile...)...)
		result := make(chan error, 1)
		go func() { result <- h.Ensure(t.Context(), cfg) }()
		p.waitTransacts(sent + 1) // planned from rows that are no longer true
		p.resume()
		return <-result
	}

	// The port that we are about to make ours mend loses our label.
	vsctl(t, sw, "set", "interface", "nvgre0", "options:key=7")
	poll(t, "the change", func() bool {
		h.mu.Lock()
		defer h.mu.Unlock()
		for i := range all[interfaceRow](h.session.db) {
			if i.Options["key"] == "7" {
				return true
			}
		}
		return false
	})
	err := run(Config{}, "remove", "interface", "nvgre0", "external_ids", Label)
	var notOurs *NotOursError
	if !errors.As(err, &notOurs) {
		t.Errorf("Ensure while the label was removed: %v", err)
	}
	if got := vsctl(t, sw, "get", "interface", "nvgre0", "options:key"); got != `"7"` {
		t.Errorf("the key of an interface that is no longer ours is %s", got)
	}
	vsctl(t, sw, "set", "interface", "nvgre0", "external_ids:"+Label+"=tunnel")
	poll(t, "mended", func() bool { return h.Ensure(t.Context(), Config{}) == nil })

	// An active controller comes while we add a listener.
	err = run(Config{Listener: "ptcp:16653:127.0.0.1"}, "set-controller", "br-int", "tcp:127.0.0.1:1")
	var active *ActiveControllerError
	if !errors.As(err, &active) {
		t.Errorf("Ensure while an active controller came: %v", err)
	}
	vsctl(t, sw, "del-controller", "br-int")
	poll(t, "mended", func() bool { return h.Ensure(t.Context(), Config{}) == nil })

	// What does not concern us does not disturb: both changes are there.
	if err := run(Config{TableNames: map[uint8]string{1: "one"}}, "--id=@ft", "create", "flow_table", "name=two", "--", "add", "bridge", "br-int", "flow_tables", "2=@ft"); err != nil {
		t.Errorf("Ensure while another table was configured: %v", err)
	}
	if got := strings.Fields(vsctl(t, sw, "--bare", "--columns=name", "list", "flow_table")); len(got) != 2 {
		t.Errorf("flow tables %q, want both", got)
	}
}

func TestRestartOfOVSDB(t *testing.T) {
	sw, h, p := startProxied(t)
	cfg := Config{Listener: "ptcp:16653:127.0.0.1"}
	ensure(t, h, cfg)
	addVM(t, sw, "br-int", "p1", "iface-id=web1")
	addVM(t, sw, "br-int", "p2", "iface-id=web2")
	eventually(t, h, "two attachments", func(s State) bool { return len(s.Attachments) == 2 })

	p.refuse()
	if err := sw.StopOVSDB(); err != nil {
		t.Fatal(err)
	}
	s := eventually(t, h, "an outage", outage)
	if len(s.Attachments) != 2 || s.ConnError == nil {
		t.Errorf("state in the outage: %+v", s)
	}
	err := h.Ensure(t.Context(), cfg)
	if !errors.Is(err, ErrNotConnected) {
		t.Errorf("Ensure in the outage: %v", err)
	}
	if err := h.MarkInstalled(t.Context(), map[string]string{"p1": "7"}); !errors.Is(err, ErrNotConnected) {
		t.Errorf("MarkInstalled in the outage: %v", err)
	}
	if err := sw.StartOVSDB(t.Context()); err != nil {
		t.Fatal(err)
	}
	// Behind our back.
	vsctl(t, sw, "del-port", "p1", "--", "set", "interface", "p2", "external_ids:iface-id=web9", "--", "del-port", "nvgre0")
	p.allow()
	s = eventually(t, h, "connected again", connected)
	if len(s.Attachments) != 1 || s.Attachments[0].IfaceID != "web9" || s.TunnelOFPort != 0 {
		t.Errorf("state after the outage: %+v", s)
	}
	ensure(t, h, cfg)
	if s := h.State(); s.TunnelOFPort == 0 {
		t.Errorf("the gre port was not made again: %+v", s)
	}
}

func TestManyShortOutages(t *testing.T) {
	sw, h, p := startProxied(t)
	ensure(t, h, Config{})
	for i := range 10 {
		addVM(t, sw, "br-int", fmt.Sprint("p", i), fmt.Sprint("iface-id=web", i))
		p.cut()
		eventually(t, h, "the attachment", func(s State) bool { return s.Connected && len(s.Attachments) == i+1 })
	}
}

func TestSilentServer(t *testing.T) {
	sw, h, p := startProxied(t, WithProbe(100*time.Millisecond))
	p.pause()
	vsctl(t, sw, "--no-wait", "add-br", "br-x") // unheard
	s := eventually(t, h, "an outage", outage)
	if !strings.Contains(errorText(s.ConnError), "silent for 200ms") {
		t.Errorf("reason %v", s.ConnError)
	}
	p.resume()
	p.cut()
	eventually(t, h, "connected again", connected)
}

func TestContextEndsInAnOutage(t *testing.T) {
	_, h, p := startProxied(t, WithProbe(time.Hour))
	p.pause()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := h.Ensure(ctx, Config{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ensure: %v", err)
	}
	// The connection ends under a call without a deadline.
	result := make(chan error, 1)
	sent := p.transacts.Load()
	go func() { result <- h.Ensure(context.Background(), Config{TunnelPort: "other"}) }()
	p.waitTransacts(sent + 1)
	p.refuse()
	p.cut()
	p.resume()
	select {
	case err := <-result:
		if !errors.Is(err, errConnectionLost) {
			t.Errorf("Ensure under which the connection ended: %v", err)
		}
	case <-time.After(patience):
		t.Error("Ensure outlives the connection")
	}
	// The cleanup checks that Run ends with its context in an outage.
}

func TestRestartOfVswitchd(t *testing.T) {
	sw, h := startSwitch(t, WithApplyTimeout(100*time.Millisecond))
	ensure(t, h, Config{})
	addVM(t, sw, "br-int", "p1", "iface-id=web1")
	eventually(t, h, "an attachment", func(s State) bool { return len(s.Attachments) == 1 && s.Attachments[0].OFPort != 0 })
	if err := sw.KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	err := h.Ensure(t.Context(), Config{Listener: "ptcp:16653:127.0.0.1"})
	if !errors.Is(err, ErrNotApplied) {
		t.Errorf("Ensure without ovs-vswitchd: %v", err)
	}
	if err := h.Ensure(t.Context(), Config{Listener: "ptcp:16653:127.0.0.1"}); err != nil {
		t.Errorf("Ensure with nothing to do: %v", err)
	}
	vsctl(t, sw, "--no-wait", "add-port", "br-int", "p2", "--", "set", "interface", "p2", "type=dummy", "external_ids:iface-id=web2")
	s := eventually(t, h, "the new attachment", func(s State) bool { return len(s.Attachments) == 2 })
	if s.Attachments[1].OFPort != 0 {
		t.Errorf("a port number without ovs-vswitchd: %+v", s.Attachments[1])
	}
	if err := sw.StartVswitchd(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, h, "its port number", func(s State) bool { return s.Attachments[1].OFPort != 0 })
}

func TestOverTCP(t *testing.T) {
	sw := ovstest.Start(t)
	port := ovstest.FreePort(t)
	if _, err := sw.Run(t.Context(), "ovs-appctl", "-t", sw.Dir()+"/ovsdb-server.ctl", "ovsdb-server/add-remote", fmt.Sprintf("ptcp:%d:127.0.0.1", port)); err != nil {
		t.Fatal(err)
	}
	h := startHost(t, ovsaddr.Endpoint{Network: "tcp", Address: fmt.Sprintf("127.0.0.1:%d", port)}, nil)
	eventually(t, h, "connected", connected)
	ensure(t, h, Config{})
}
