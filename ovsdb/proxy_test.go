package ovsdb

import (
	"encoding/json"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// proxy stands between a Host and ovsdb-server, counts transactions, and makes
// outages.
type proxy struct {
	target    string
	ln        net.Listener
	transacts atomic.Int64 // requests seen

	wg   sync.WaitGroup
	mu   sync.Mutex
	cond *sync.Cond
	// paused holds back what the server sends; refusing closes new
	// connections; ended wakes everybody up to go.
	paused, refusing, ended bool
	conns                   map[net.Conn]bool
}

func startProxy(t testing.TB, sw *ovsproc.Switch) *proxy {
	t.Helper()
	ln, err := net.Listen("unix", filepath.Join(sw.Dir(), "proxy.sock"))
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{target: sw.DBSock(), ln: ln, conns: make(map[net.Conn]bool)}
	p.cond = sync.NewCond(&p.mu)
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		ln.Close()
		p.set(func() { p.ended = true })
		p.cut()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) path() string { return p.ln.Addr().String() }

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
	p.cond.Broadcast()
}

func (p *proxy) pause()  { p.set(func() { p.paused = true }) }
func (p *proxy) resume() { p.set(func() { p.paused = false }) }

// refuse closes new connections at once until allow.
func (p *proxy) refuse() { p.set(func() { p.refusing = true }) }
func (p *proxy) allow()  { p.set(func() { p.refusing = false }) }

// cut closes every connection.
func (p *proxy) cut() {
	p.set(func() {
		for c := range p.conns {
			c.Close()
		}
	})
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("unix", p.target)
		p.mu.Lock()
		if err != nil || p.refusing || p.ended {
			p.mu.Unlock()
			client.Close()
			if err == nil {
				server.Close()
			}
			continue
		}
		p.conns[client], p.conns[server] = true, true
		p.mu.Unlock()
		p.wg.Go(func() { p.toServer(client, server) })
		p.wg.Go(func() { p.toClient(client, server) })
	}
}

func (p *proxy) drop(conns ...net.Conn) {
	p.set(func() {
		for _, c := range conns {
			c.Close()
			delete(p.conns, c)
		}
	})
}

func (p *proxy) toServer(client, server net.Conn) {
	defer p.drop(client, server)
	dec := json.NewDecoder(client)
	for {
		var raw json.RawMessage
		if dec.Decode(&raw) != nil {
			return
		}
		var m struct{ Method string }
		if json.Unmarshal(raw, &m) == nil && m.Method == "transact" {
			p.set(func() { p.transacts.Add(1) })
		}
		if _, err := server.Write(raw); err != nil {
			return
		}
	}
}

func (p *proxy) toClient(client, server net.Conn) {
	defer p.drop(client, server)
	buf := make([]byte, 64<<10)
	for {
		n, err := server.Read(buf)
		p.mu.Lock()
		for p.paused && !p.ended {
			p.cond.Wait()
		}
		p.mu.Unlock()
		if _, werr := client.Write(buf[:n]); err != nil || werr != nil {
			return
		}
	}
}

// waitTransacts waits until n transactions were sent.
func (p *proxy) waitTransacts(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.transacts.Load() < n && !p.ended {
		p.cond.Wait()
	}
}
