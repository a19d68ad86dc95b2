package controller

import (
	"context"
	"crypto/tls"
	"log/slog"
	"sync"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
)

// PortNames asks a host's OVSDB for the names of the bridge's ports that flows
// speak of: those of VMs and the tunnel's. It makes one attempt, changes nothing
// and returns the names by OpenFlow port number.
func PortNames(ctx context.Context, ep ovsaddr.Endpoint, conf *tls.Config, bridge, tunnelPort string) (map[uint32]string, error) {
	s, err := Observe(ctx, ep, conf, bridge)
	if err != nil {
		return nil, err
	}
	names := make(map[uint32]string)
	for id, port := range s.VSIDPorts {
		names[port] = ovsdb.VSIDPortName(id)
	}
	if s.TunnelOFPort != 0 {
		names[s.TunnelOFPort] = tunnelPort
	}
	for _, a := range s.Attachments {
		if a.OFPort != 0 {
			names[a.OFPort] = a.Interface
		}
	}
	return names, nil
}

// Observe asks a host's OVSDB for the state of its bridge. It makes one attempt
// and changes nothing.
func Observe(ctx context.Context, ep ovsaddr.Endpoint, conf *tls.Config, bridge string) (ovsdb.State, error) {
	h := ovsdb.NewHost("", ep, conf, slog.New(slog.DiscardHandler), ovsdb.WithBridge(bridge))
	before := h.State().ConnError
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = h.Run(ctx) }) // it ends with ctx only
	for {
		s := h.State()
		switch {
		case s.Connected:
			return s, nil
		case s.ConnError != before:
			return ovsdb.State{}, s.ConnError
		}
		select {
		case <-ctx.Done():
			return ovsdb.State{}, context.Cause(ctx)
		case <-h.Changes():
		}
	}
}
