package e2e

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// trioName names the controllers of a trio: so that each drives one of the hosts
// h1, h2 and h3.
func trioName(i int) string { return fmt.Sprintf("c%d", i+6) }

// trio makes three settings files of the testbed's one, for controllers that
// share the store in them, and returns their names.
func (b *bed) trio() (settings []string) {
	b.t.Helper()
	var addresses []string
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			b.t.Fatal(err)
		}
		defer l.Close()
		addresses = append(addresses, l.Addr().String())
	}
	return b.trioAt(addresses)
}

// trioAt is trio with the members of etcd at those addresses.
func (b *bed) trioAt(addresses []string) (settings []string) {
	b.t.Helper()
	text, err := os.ReadFile(b.Settings())
	if err != nil {
		b.t.Fatal(err)
	}
	var keep bytes.Buffer
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "policy:") && !strings.HasPrefix(line, "admin-socket:") {
			keep.WriteString(line)
		}
	}
	var peers []string
	for i, a := range addresses {
		peers = append(peers, trioName(i)+"=http://"+a)
	}
	for i := range 3 {
		name := filepath.Join(b.root, trioName(i)+".yaml")
		head := fmt.Sprintf("name: %s\nadmin-socket: %s\napi-socket: %s\nstore: {directory: %s, cluster: {peers: '%s'}}\n",
			trioName(i), b.trioSocket(i, "admin"), b.trioSocket(i, "api"), filepath.Join(b.root, "etcd"+trioName(i)), strings.Join(peers, ","))
		if err := os.WriteFile(name, []byte(head+keep.String()), 0o600); err != nil {
			b.t.Fatal(err)
		}
		settings = append(settings, name)
	}
	return settings
}

func (b *bed) trioSocket(i int, what string) string {
	return filepath.Join(b.root, trioName(i)+"."+what)
}

// trioReady reports whether a controller says that all is well, its own hosts
// and those of the others.
func (b *bed) trioReady(i int) (string, bool) {
	out, _, code := b.cli("status", "--admin-socket", b.trioSocket(i, "admin"), "-o", "json")
	return out, code == 0
}

// Pings go on while each of three controllers is killed in turn, and its member
// of etcd with it: forwarding depends on none of them.
func TestControllersKilledInTurnLoseNoPacket(t *testing.T) {
	b := up(t, "two-tenants")
	writes := b.watchWriters()
	files := b.trio()
	start := func(i int) *controller { return b.startWith(files[i]) }
	all := []*controller{start(0), start(1), start(2)}
	until(t, 30*time.Second, "the API to take the policy", func() bool {
		_, _, code := b.cli("apply", "-f", b.policy, "--api-socket", b.trioSocket(0, "api"))
		return code == 0
	}, nil)
	ready := func(which ...int) {
		t.Helper()
		for _, i := range which {
			why := ""
			until(t, 30*time.Second, fmt.Sprintf("controller %s to be ready", trioName(i)), func() (ok bool) { why, ok = b.trioReady(i); return ok }, func() string { return why })
		}
	}
	ready(0, 1, 2)
	pings := b.pingers()
	for round := range 3 {
		all[round].kill(syscall.SIGKILL)
		ready((round+1)%3, (round+2)%3)
		all[round] = start(round)
		ready(0, 1, 2)
	}
	// Without a quorum nothing changes, and packets go on.
	all[0].kill(syscall.SIGKILL)
	all[1].kill(syscall.SIGKILL)
	until(t, 10*time.Second, "the last to be frozen", func() bool { out, _ := b.trioReady(2); return strings.Contains(out, `"frozen": true`) }, nil)
	all[2].kill(syscall.SIGKILL)
	for i := range all {
		all[i] = start(i)
	}
	ready(0, 1, 2)
	sent, lost, worst := finishAll(t, pings)
	t.Logf("%d requests on %d pairs at 100/s, %d lost", sent, len(pings), lost)
	if lost > 0 {
		t.Errorf("%d of %d lost; worst %v", lost, sent, worst)
	}
	writes.check()
}
