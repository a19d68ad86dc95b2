package fleet

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/dbserver"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/ofswitch"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// start starts a fleet that ends with the test.
func start(tb testing.TB, o Options) *Fleet {
	tb.Helper()
	ovstest.Schema(tb)
	if o.Dir == "" {
		dir, err := os.MkdirTemp("", "fleet")
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(func() { os.RemoveAll(dir) })
		o.Dir = dir
	}
	f, err := Start(context.Background(), o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(f.Close)
	return f
}

var small = Plan{Hosts: 6, Records: 120, Domains: 4, DomainsPerHost: 2}

func TestFleet(t *testing.T) {
	f := start(t, Options{Plan: small, Attach: 2})
	files, err := f.WriteFiles()
	if err != nil {
		t.Fatal(err)
	}
	p, err := policyfile.Load(files.Policy, 1)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for range p.Hosts() {
		n++
	}
	if n != small.Hosts {
		t.Errorf("the policy has %d hosts", n)
	}
	settings, err := os.ReadFile(files.Settings)
	if err != nil {
		t.Fatal(err)
	}
	for i := range f.Len() {
		h := f.Host(i)
		for _, want := range []string{h.Name(), h.OVSDB(), h.OpenFlow()} {
			if !strings.Contains(string(settings), want) {
				t.Errorf("the settings lack %s", want)
			}
		}
		all := h.Attachments()
		if len(all) != 2*small.DomainsPerHost {
			t.Errorf("host %s has %d attachments", h.Name(), len(all))
		}
		ports := make(map[int]bool)
		for _, a := range all {
			if a.OFPort <= 0 || ports[a.OFPort] {
				t.Errorf("host %s: %+v", h.Name(), a)
			}
			ports[a.OFPort] = true
		}
		if got := len(h.portList()); got != len(all)+1 {
			t.Errorf("host %s describes %d ports", h.Name(), got)
		}
	}
	tot := f.Totals()
	if tot.Hosts != small.Hosts || tot.Flows != 0 || tot.Connections != 0 {
		t.Errorf("%+v", tot)
	}
	dir := filepath.Dir(files.Policy)
	f.Close()
	left, err := filepath.Glob(filepath.Join(dir, "*.db"))
	if err != nil || len(left) > 0 {
		t.Errorf("sockets left: %v, %v", left, err)
	}
}

func TestAttachDetach(t *testing.T) {
	f := start(t, Options{Plan: small})
	h := f.Host(0)
	if err := h.Attach(VM{IfaceID: "a"}, VM{IfaceID: "b", Interface: "eth-b"}); err != nil {
		t.Fatal(err)
	}
	before := h.Attachments()
	if err := h.Detach("a", "nobody"); err != nil {
		t.Fatal(err)
	}
	if got := h.Attachments(); len(got) != 1 || got[0].IfaceID != "b" || got[0].Interface != "eth-b" {
		t.Errorf("%+v", got)
	}
	if err := h.Attach(VM{IfaceID: "a"}); err != nil {
		t.Fatal(err)
	}
	for _, a := range h.Attachments() {
		for _, b := range before {
			if a.IfaceID == "a" && a.OFPort == b.OFPort {
				t.Errorf("port number %d came back at once", a.OFPort)
			}
		}
	}
	if err := h.Attach(VM{IfaceID: "a"}); err == nil {
		t.Error("an interface of the same name was made twice")
	}
	if err := h.Attach(VM{IfaceID: "a-name-that-is-far-too-long"}); err == nil {
		t.Error("an interface of a long name was made")
	}
	var on0 []int
	for d := range f.Layout().DomainsOf(0) {
		for r := range f.Layout().RecordsOn(0, d) {
			on0 = append(on0, r)
		}
	}
	if err := f.Attach(on0[:3]...); err != nil {
		t.Fatal(err)
	}
	if got := len(h.Attachments()); got != 5 {
		t.Errorf("%d attachments", got)
	}
}

// connects says whether an address in OVS's syntax takes connections and keeps
// them.
func connects(t *testing.T, addr string) bool {
	t.Helper()
	network, a, _ := strings.Cut(addr, ":")
	c, err := net.Dial(network, a)
	if err != nil {
		return false
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	_, err = c.Read(make([]byte, 1))
	return err == nil || errors.Is(err, os.ErrDeadlineExceeded)
}

func TestReach(t *testing.T) {
	for _, tcp := range []bool{false, true} {
		f := start(t, Options{Plan: small, TCP: tcp})
		h := f.Host(1)
		before := []string{h.OVSDB(), h.OpenFlow()}
		h.Refuse()
		if connects(t, h.OVSDB()) || connects(t, h.OpenFlow()) {
			t.Error("a host that refuses took a connection")
		}
		if err := h.Accept(); err != nil {
			t.Fatal(err)
		}
		if after := []string{h.OVSDB(), h.OpenFlow()}; !slices.Equal(before, after) {
			t.Errorf("addresses %v became %v", before, after)
		}
		if !connects(t, h.OVSDB()) || !connects(t, h.OpenFlow()) {
			t.Error("a host that accepts again took no connection")
		}
	}
}

func TestBare(t *testing.T) {
	f := start(t, Options{Plan: small, Bare: true})
	h := f.Host(0)
	if connects(t, h.OpenFlow()) {
		t.Error("OpenFlow without a bridge")
	}
	if err := h.Attach(VM{IfaceID: "a"}); !errors.Is(err, ErrNoBridge) {
		t.Errorf("attached without a bridge: %v", err)
	}
	err := h.db.Transact(func(tx *dbserver.Tx) error {
		i := tx.Insert("Interface", map[string]any{"name": "br-int"})
		p := tx.Insert("Port", map[string]any{"name": "br-int", "interfaces": i})
		b := tx.Insert("Bridge", map[string]any{"name": "br-int", "ports": p})
		tx.Each("Open_vSwitch", func(root dbserver.Row) bool {
			defer tx.Link(root, "bridges", b)
			return false
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if !connects(t, h.OpenFlow()) {
		t.Error("no OpenFlow with a bridge")
	}
	if err := h.Attach(VM{IfaceID: "a"}); err != nil {
		t.Error(err)
	}
}

// TestStalledHost: while ovs-vswitchd is stalled nobody gives out port numbers;
// afterwards everything is made up for.
func TestStalledHost(t *testing.T) {
	f := start(t, Options{Plan: small})
	h := f.Host(0)
	h.SetFaults(Faults{OpenFlow: ofswitch.Faults{Stalled: true}})
	if err := h.Attach(VM{IfaceID: "a"}); err != nil {
		t.Fatal(err)
	}
	if got := h.Attachments(); len(got) != 1 || got[0].OFPort != 0 {
		t.Errorf("%+v", got)
	}
	h.SetFaults(Faults{})
	if got := h.Attachments(); len(got) != 1 || got[0].OFPort == 0 {
		t.Errorf("%+v", got)
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]Options{
		"plan":   {Dir: t.TempDir()},
		"path":   {Dir: "/tmp/" + strings.Repeat("long/", 25), Plan: small, Schema: []byte("{}")},
		"schema": {Dir: t.TempDir(), Plan: small, Schema: []byte("{}")},
		"bare":   {Dir: t.TempDir(), Plan: small, Bare: true, Attach: 1, Schema: []byte("{}")},
	} {
		if f, err := Start(t.Context(), o); err == nil {
			f.Close()
			t.Errorf("%s: started", name)
		}
	}
}

// TestEndsWithContext: a fleet ends with its context, also while somebody is
// connected.
func TestEndsWithContext(t *testing.T) {
	ovstest.Schema(t)
	ctx, cancel := context.WithCancel(context.Background())
	f, err := Start(ctx, Options{Dir: t.TempDir(), Plan: small, TCP: true})
	if err != nil {
		t.Fatal(err)
	}
	_, addr, _ := strings.Cut(f.Host(0).OpenFlow(), ":")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	cancel()
	c.SetReadDeadline(time.Now().Add(patience))
	for b := make([]byte, 100); err == nil; {
		_, err = c.Read(b)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("the connection outlived the fleet's context")
	}
	f.Close()
}
