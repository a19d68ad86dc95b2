package ha

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// controllerConfig is a controller that is a process of its own.
type controllerConfig struct {
	Name, Switches string
	Endpoints      []string
	Hosts          int
}

// runController is its process: it writes to each of its hosts every
// millisecond, as far as one thread gets.
func runController(arg string) error {
	var c controllerConfig
	if err := json.Unmarshal([]byte(arg), &c); err != nil {
		return err
	}
	cfg := ClientConfig(c.Endpoints)
	cfg.Logger = zap.NewNop()
	client, err := clientv3.New(cfg)
	if err != nil {
		return err
	}
	conn, err := net.Dial("unix", c.Switches)
	if err != nil {
		return err
	}
	d := &remoteDriver{conn: conn, tenures: make(map[*Tenure]bool)}
	g, err := New(Config{Client: client, Prefix: "/test/", Name: c.Name, TTL: time.Second, Driver: d,
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)).With("controller", c.Name)})
	if err != nil {
		return err
	}
	g.SetHosts(names(c.Hosts))
	go d.write()
	return g.Run(context.Background())
}

// remoteDriver drives the switches of the test's process.
type remoteDriver struct {
	mu      sync.Mutex
	conn    net.Conn
	tenures map[*Tenure]bool // true: not frozen
}

func (d *remoteDriver) send(what string, t *Tenure) {
	// A failure ends with the process.
	_, _ = fmt.Fprintf(d.conn, "%s %s %d\n", what, t.Host, t.Generation)
}

// Lose returns when the switches have read what was written before.
func (d *remoteDriver) Lose(_ context.Context, t *Tenure) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.tenures, t)
	d.send("barrier", t)
	_, _ = d.conn.Read(make([]byte, 1))
}

func (d *remoteDriver) set(t *Tenure, what string, write bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if what != "" {
		d.send(what, t)
	}
	d.tenures[t] = write
}

func (d *remoteDriver) Acquire(t *Tenure) { d.set(t, "claim", true) }
func (d *remoteDriver) Freeze(t *Tenure)  { d.set(t, "", false) }
func (d *remoteDriver) Thaw(t *Tenure)    { d.set(t, "", true) }

func (d *remoteDriver) write() {
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		d.mu.Lock()
		for t, write := range d.tenures {
			if write && t.Valid() {
				d.send("write", t)
			}
		}
		d.mu.Unlock()
	}
}

// switches are what the controllers write to, with roles as OpenFlow has them.
type switches struct {
	tb   testing.TB
	path string
	wg   sync.WaitGroup

	mu      sync.Mutex
	hosts   map[string]*fakeSwitch
	refused int // writes of slaves
}

type fakeSwitch struct {
	generation uint64
	claims     int
	written    time.Time // last accepted
	gap        time.Duration
}

func startSwitches(tb testing.TB) *switches {
	tb.Helper()
	dir, err := os.MkdirTemp("", "ha") // a socket's path must be short
	if err != nil {
		tb.Fatal(err)
	}
	s := &switches{tb: tb, path: filepath.Join(dir, "s"), hosts: make(map[string]*fakeSwitch)}
	l, err := net.Listen("unix", s.path)
	if err != nil {
		tb.Fatal(err)
	}
	s.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			s.wg.Go(func() { s.serve(conn) })
		}
	})
	tb.Cleanup(func() { _ = l.Close(); s.wg.Wait(); _ = os.RemoveAll(dir) })
	return s
}

func (s *switches) serve(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	for r := bufio.NewScanner(conn); r.Scan(); {
		var what, host string
		var gen uint64
		if _, err := fmt.Sscan(r.Text(), &what, &host, &gen); err != nil {
			continue // cut off by the end of the process
		}
		if what == "barrier" {
			if _, err := conn.Write([]byte{0}); err != nil {
				return
			}
			continue
		}
		s.mu.Lock()
		h := s.hosts[host]
		if h == nil {
			h = &fakeSwitch{}
			s.hosts[host] = h
		}
		switch {
		case what == "claim":
			switch {
			case gen == h.generation:
				s.tb.Errorf("%s: claimed twice with generation %d", host, gen)
			case gen < h.generation:
				// Of a controller that was stopped on its way to the switch, which
				// answers that the generation is stale.
				s.refused++
			default:
				h.generation = gen
				h.claims++
			}
		case gen != h.generation:
			s.refused++
		default:
			now := time.Now()
			if !h.written.IsZero() {
				h.gap = max(h.gap, now.Sub(h.written))
			}
			h.written = now
		}
		s.mu.Unlock()
	}
}

// look returns the longest time that a host was not written to since the look
// before, how many claims there were ever and how many writes were refused; ok
// tells whether all hosts were written to in the last 100 ms.
func (s *switches) look(hosts int, reset bool) (gap time.Duration, claims, refused int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok = len(s.hosts) == hosts
	for _, h := range s.hosts {
		since := time.Since(h.written)
		ok = ok && since < 100*time.Millisecond
		gap = max(gap, h.gap, since)
		claims += h.claims
		if reset {
			h.gap = 0
		}
	}
	return gap, claims, s.refused, ok
}

// Real processes: one that is stopped and wakes, one that is killed, and etcd's
// leader killed.
func TestProcesses(t *testing.T) {
	const hosts = 100
	c := startEtcd(t, 3)
	s := startSwitches(t)
	var controllers []*exec.Cmd
	t.Cleanup(func() {
		for _, p := range controllers {
			kill(p)
		}
	})
	client, _ := dial(t, c)
	owners := func() map[string]int {
		m := make(map[string]int)
		r, err := client.Get(t.Context(), newKeys("/test/").owners, clientv3.WithPrefix())
		if err != nil {
			t.Fatal(err)
		}
		for _, kv := range r.Kvs {
			m[string(kv.Value)]++
		}
		return m
	}
	shared := func(members ...string) {
		t.Helper()
		want := make(map[string]int)
		for _, h := range names(hosts) {
			want[winner(h, members)]++
		}
		eventually(t, 10*time.Second, "shared by "+fmt.Sprint(members), func() bool { return fmt.Sprint(owners()) == fmt.Sprint(want) })
		eventually(t, 5*time.Second, "all written", func() bool { _, _, _, ok := s.look(hosts, false); return ok })
	}
	for _, name := range []string{"a", "b", "c"} {
		controllers = append(controllers, process(t, "controller", controllerConfig{name, s.path, c.endpoints(), hosts}))
	}
	shared("a", "b", "c")
	s.look(hosts, true)

	signal := func(p *exec.Cmd, sig syscall.Signal) {
		if err := p.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	signal(controllers[0], syscall.SIGSTOP)
	pause(t.Context(), 50*time.Millisecond) // what it wrote before arrives
	_, _, before, _ := s.look(hosts, false)
	shared("b", "c")
	gap, _, _, _ := s.look(hosts, true)
	signal(controllers[0], syscall.SIGCONT)
	shared("a", "b", "c")
	back, _, refused, _ := s.look(hosts, true)
	t.Logf("stopped: no host without a driver for more than %v; it came back: %v; stale writes refused by the switches: %d", gap, back, refused-before)
	// One write may be between the look at the clock and the socket.
	if gap > 2*time.Second || back > 500*time.Millisecond || refused-before > 1 {
		t.Error("too long, or too many")
	}

	signal(controllers[1], syscall.SIGKILL)
	shared("a", "c")
	gap, claims, _, _ := s.look(hosts, true)
	t.Logf("killed: no host without a driver for more than %v", gap)
	if gap > 2*time.Second {
		t.Error("too long")
	}

	for i, e := range c.endpoints() {
		st, err := client.Status(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		if st.Leader == st.Header.MemberId {
			c.kill(i)
			break
		}
	}
	// A write that etcd takes, and then a renewal's time.
	eventually(t, 10*time.Second, "etcd has a leader again", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		_, err := client.Put(ctx, "x", "")
		return err == nil
	})
	pause(t.Context(), time.Second)
	shared("a", "c")
	gap, after, _, _ := s.look(hosts, true)
	t.Logf("etcd's leader killed: no host unwritten for more than %v; %d hosts moved", gap, after-claims)
	if after != claims {
		t.Error("hosts moved though no controller was lost")
	}
}
