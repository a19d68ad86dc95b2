package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// wantedFlows asks the running controller which flows it wants a host to have, and
// which groups.
func wantedFlows(ctx context.Context, socket, host string) (h held, err error) {
	all, err := admin.FetchWanted(ctx, socket, host)
	if err != nil {
		return h, fmt.Errorf("host %s: the flows that the controller wants: %w", host, explainContext(ctx, err))
	}
	for _, octets := range all {
		e := openflow.Encoded(octets)
		if e.Kind() != openflow.KindFlow {
			if g, err := e.Group(); err == nil {
				h.groups = append(h.groups, g)
			}
			continue
		}
		f, err := e.Decode()
		if err != nil {
			return h, fmt.Errorf("host %s: is the controller of the same release? %w", host, err)
		}
		h.flows = append(h.flows, f)
	}
	slices.SortStableFunc(h.flows, func(a, b flow.Flow) int { return flow.Compare(&a, &b) })
	return h, nil
}

// hostState is what a host's OVSDB tells.
type hostState struct {
	view  flows.HostView
	state ovsdb.State
	port  string // name of the flow-based tunnel port
}

// explained returns the state as package explain wants it.
func (h *hostState) explained() explain.Host {
	e := explain.Host{View: h.view, Names: portNamesOf(&h.state, h.port), MACs: make(map[string]string), PAs: h.state.EncapIPs}
	for _, a := range h.state.Attachments {
		if !a.Inactive {
			e.MACs[a.IfaceID] = a.MAC
		}
	}
	return e
}

// observeHost asks a host's OVSDB for its ports.
func observeHost(ctx context.Context, s *settings.Settings, p *tenant.Policy, d *dumpOptions, name string) (*hostState, error) {
	db := dumpDatabase(s, p, d, name)
	if db.IsZero() {
		return nil, fmt.Errorf("host %s has no OVSDB address in the settings or the policy: what goes there is not known", name)
	}
	var conf *tls.Config
	if db.NeedsTLS() {
		var err error
		if conf, err = ovsaddr.LoadTLS(s.TLS.CA, s.TLS.Certificate, s.TLS.PrivateKey); err != nil {
			return nil, err
		}
	}
	state, err := controller.Observe(ctx, db, conf, s.Bridge)
	if err != nil {
		return nil, fmt.Errorf("host %s: OVSDB at %s: %w", name, db, explainContext(ctx, err))
	}
	h := &hostState{view: flows.HostView{Name: name, Tunnels: flows.TunnelPorts{Flow: state.TunnelOFPort, FlowID: s.FlowID}}, state: state, port: s.TunnelPort}
	if s.PortMode == settings.PortPerVSID {
		h.view.Tunnels.PerVSID = state.VSIDPorts
		if h.view.Tunnels.PerVSID == nil {
			h.view.Tunnels.PerVSID = map[tenant.VSID]uint32{}
		}
	}
	for _, a := range state.Attachments {
		if !a.Inactive {
			h.view.Attachments = append(h.view.Attachments, flows.Attachment{IfaceID: a.IfaceID, OFPort: a.OFPort})
		}
	}
	return h, nil
}

// portNamesOf returns the names of a host's ports by number.
func portNamesOf(state *ovsdb.State, tunnel string) map[uint32]string {
	names := make(map[uint32]string)
	for id, port := range state.VSIDPorts {
		names[port] = ovsdb.VSIDPortName(id)
	}
	if state.TunnelOFPort != 0 {
		names[state.TunnelOFPort] = tunnel
	}
	for _, a := range state.Attachments {
		if a.OFPort != 0 {
			names[a.OFPort] = a.Interface
		}
	}
	return names
}

// held is what a host's switch holds: the flows that can be expressed, in their
// order, those that cannot, and the groups that can.
type held struct {
	flows  []flow.Flow
	odd    []verify.OddFlow
	groups []flow.Group
}

// hostFlows reads what a host's switch holds.
func hostFlows(ctx context.Context, s *settings.Settings, p *tenant.Policy, d *dumpOptions, name string) (h held, err error) {
	ep, conf, err := dumpAddress(s, p, d, name)
	if err != nil {
		return h, err
	}
	session, err := controller.Dial(ctx, ep, conf, slog.New(slog.DiscardHandler))
	if err != nil {
		return h, explainSwitch(name, ep, explainContext(ctx, err))
	}
	defer session.Close()
	err = session.ReadFlows(ctx, 0, 0, func(st *openflow.Stat) error {
		if st.Unknown == "" {
			h.flows = append(h.flows, st.Flow)
		} else {
			h.odd = append(h.odd, verify.OddFlow{Flow: st.Flow, MatchKnown: st.MatchKnown, Why: st.Unknown})
		}
		return nil
	})
	if err != nil {
		return h, explainSwitch(name, ep, explainContext(ctx, err))
	}
	err = session.ReadGroups(ctx, func(e *openflow.Entry) error {
		if g, err := openflow.Encoded(e.Octets).Group(); err == nil {
			h.groups = append(h.groups, g)
		}
		return nil
	})
	if err != nil {
		return h, explainSwitch(name, ep, explainContext(ctx, err))
	}
	slices.SortStableFunc(h.flows, func(a, b flow.Flow) int { return flow.Compare(&a, &b) })
	return h, nil
}

// askHost asks a host's OVSDB for its ports and, if wanted, its switch for its
// flows.
func askHost(ctx context.Context, s *settings.Settings, p *tenant.Policy, d *dumpOptions, name string, withFlows bool) (*verify.Host, error) {
	state, err := observeHost(ctx, s, p, d, name)
	if err != nil {
		return nil, err
	}
	h := &verify.Host{View: state.view}
	if !withFlows {
		return h, nil
	}
	has, err := hostFlows(ctx, s, p, d, name)
	h.Flows, h.Odd, h.Groups = has.flows, has.odd, has.groups
	return h, err
}
