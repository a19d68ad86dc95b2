package ha

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/goleak"
	"go.uber.org/zap"
)

// The environment makes the test's binary one of the processes that tests need.
const roleVariable = "NVGRE_OFCTL_HA_TEST"

func TestMain(m *testing.M) {
	var err error
	switch role, arg, _ := strings.Cut(os.Getenv(roleVariable), " "); role {
	case "etcd":
		err = runEtcd(arg)
	case "controller":
		err = runController(arg)
	default:
		goleak.VerifyTestMain(m)
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// process starts this binary in a role. The caller kills it.
func process(tb testing.TB, role string, arg any) *exec.Cmd {
	tb.Helper()
	b, err := json.Marshal(arg)
	if err != nil {
		tb.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role+" "+string(b))
	cmd.Stderr = tb.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	return cmd
}

func kill(cmd *exec.Cmd) {
	if cmd != nil && cmd.ProcessState == nil {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}

// etcdConfig is one member of etcd.
type etcdConfig struct{ Name, Dir, Peer, Client, Initial, Token string }

// runEtcd is the member's process. Its least lease is 1 s.
func runEtcd(arg string) error {
	var c etcdConfig
	if err := json.Unmarshal([]byte(arg), &c); err != nil {
		return err
	}
	cfg := embed.NewConfig()
	cfg.Name, cfg.Dir, cfg.InitialCluster, cfg.InitialClusterToken = c.Name, c.Dir, c.Initial, c.Token
	peer, client := []url.URL{{Scheme: "http", Host: c.Peer}}, []url.URL{{Scheme: "http", Host: c.Client}}
	cfg.ListenPeerUrls, cfg.AdvertisePeerUrls, cfg.ListenClientUrls, cfg.AdvertiseClientUrls = peer, peer, client, client
	cfg.TickMs, cfg.ElectionMs = 50, 500
	cfg.LogLevel = "fatal"
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	return <-e.Err()
}

// cluster is etcd, a process for each member.
type cluster struct {
	configs []etcdConfig
	members []*exec.Cmd
}

func freeAddr(tb testing.TB) string {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// startEtcd runs n members and waits until they have a leader.
func startEtcd(tb testing.TB, n int) *cluster {
	tb.Helper()
	c := &cluster{members: make([]*exec.Cmd, n)}
	var initial []string
	for i := range n {
		m := etcdConfig{Name: fmt.Sprintf("m%d", i), Dir: tb.TempDir(), Peer: freeAddr(tb), Client: freeAddr(tb), Token: tb.Name()}
		initial = append(initial, m.Name+"=http://"+m.Peer)
		c.configs = append(c.configs, m)
	}
	tb.Cleanup(func() {
		for _, m := range c.members {
			kill(m)
		}
	})
	for i := range c.configs {
		c.configs[i].Initial = strings.Join(initial, ",")
		c.start(tb, i)
	}
	cfg := ClientConfig(c.endpoints())
	cfg.Logger = zap.NewNop()
	client, err := clientv3.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	eventually(tb, 20*time.Second, "etcd answers", func() bool {
		ctx, cancel := context.WithTimeout(tb.Context(), time.Second)
		defer cancel()
		_, err := client.Get(ctx, "x")
		return err == nil
	})
	return c
}

func (c *cluster) endpoints() []string {
	var e []string
	for _, m := range c.configs {
		e = append(e, m.Client)
	}
	return e
}

func (c *cluster) start(tb testing.TB, i int) {
	tb.Helper()
	c.members[i] = process(tb, "etcd", c.configs[i])
}

func (c *cluster) kill(i int) { kill(c.members[i]) }

// wire is one client's way to etcd, which can be cut.
type wire struct {
	listeners []net.Listener
	wg        sync.WaitGroup

	mu    sync.Mutex
	cut   chan struct{} // closed: bytes pass; nil never
	conns map[net.Conn]bool
}

// newWire listens in front of each member of etcd.
func newWire(tb testing.TB, c *cluster) (*wire, []string) {
	tb.Helper()
	w := &wire{conns: make(map[net.Conn]bool), cut: make(chan struct{})}
	close(w.cut)
	var endpoints []string
	for _, cfg := range c.configs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			tb.Fatal(err)
		}
		w.listeners = append(w.listeners, l)
		endpoints = append(endpoints, l.Addr().String())
		to := cfg.Client
		w.wg.Go(func() {
			for {
				in, err := l.Accept()
				if err != nil {
					return
				}
				w.wg.Go(func() { w.carry(in, to) })
			}
		})
	}
	tb.Cleanup(w.close)
	return w, endpoints
}

func (w *wire) carry(in net.Conn, to string) {
	w.add(in)
	defer w.drop(in)
	<-w.open()
	out, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	w.add(out)
	var wg sync.WaitGroup
	for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			defer func() { _ = pair[0].Close(); _ = pair[1].Close() }()
			buf := make([]byte, 32<<10)
			for {
				n, err := pair[0].Read(buf)
				<-w.open()
				if n > 0 {
					if _, err := pair[1].Write(buf[:n]); err != nil {
						return
					}
				}
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	w.drop(out)
}

func (w *wire) add(c net.Conn) {
	w.mu.Lock()
	w.conns[c] = true
	w.mu.Unlock()
}

func (w *wire) drop(c net.Conn) {
	_ = c.Close()
	w.mu.Lock()
	delete(w.conns, c)
	w.mu.Unlock()
}

func (w *wire) open() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut
}

// hold keeps all bytes back, as a network that is cut off or a process that is
// stopped does; pass lets them go on.
func (w *wire) hold() {
	w.mu.Lock()
	w.cut = make(chan struct{})
	w.mu.Unlock()
}

func (w *wire) pass() {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.cut:
	default:
		close(w.cut)
	}
}

func (w *wire) close() {
	for _, l := range w.listeners {
		_ = l.Close()
	}
	w.pass()
	w.mu.Lock()
	for c := range w.conns {
		_ = c.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}

// dial returns a client with a way to etcd of its own.
func dial(tb testing.TB, c *cluster) (*clientv3.Client, *wire) {
	tb.Helper()
	w, endpoints := newWire(tb, c)
	cfg := ClientConfig(endpoints)
	cfg.Logger = zap.NewNop()
	client, err := clientv3.New(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = client.Close() })
	return client, w
}

// eventually waits for a condition.
func eventually(tb testing.TB, within time.Duration, what string, f func() bool) time.Duration {
	tb.Helper()
	start := time.Now()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	ctx, cancel := context.WithTimeout(tb.Context(), within)
	defer cancel()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("not within %v: %s", within, what)
		}
	}
	return time.Since(start)
}
