package fleet

import (
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
)

// endpoint is a socket that can be closed and opened again at the same address.
type endpoint struct {
	network, address string
	serve            func(net.Conn)

	mu       sync.Mutex
	ended    bool
	listener net.Listener // nil: refuses
	wg       sync.WaitGroup
}

// open begins to accept connections. It is no error if it does already.
func (e *endpoint) open() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener != nil || e.ended {
		return nil
	}
	if e.network == "unix" {
		// What a crash left behind; a socket in use is not removed.
		if c, err := net.Dial("unix", e.address); err == nil {
			c.Close()
			return fmt.Errorf("listening on %s: somebody does already", e.address)
		}
		if err := os.Remove(e.address); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	ln, err := net.Listen(e.network, e.address)
	if err != nil {
		return fmt.Errorf("listening on %s: %w", e.address, err)
	}
	e.listener = ln
	e.address = ln.Addr().String()
	e.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			e.wg.Go(func() { e.serve(c) })
		}
	})
	return nil
}

// refuse takes no more connections: dialling fails as it does where no process
// listens. Those that there are stay.
func (e *endpoint) refuse() {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.listener != nil {
		e.listener.Close()
		e.listener = nil
	}
}

// close ends the endpoint for ever; wait returns when nothing of it runs.
func (e *endpoint) close() {
	e.mu.Lock()
	e.ended = true
	e.mu.Unlock()
	e.refuse()
}

func (e *endpoint) wait() { e.wg.Wait() }

// String returns the address in OVS's syntax.
func (e *endpoint) String() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.network + ":" + e.address
}
