package api

import (
	"cmp"
	"context"
	"fmt"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

type statusInput struct{}

type statusOutput struct{ Body *admin.Status }

type hostStatusInput struct {
	Name string `path:"name" doc:"name of the host, percent-encoded"`
}

type hostStatusOutput struct{ Body *admin.Host }

type attachmentsInput struct {
	Paging
	Host          string `query:"host" doc:"only those on this host"`
	RoutingDomain string `query:"routing_domain" doc:"only those of the routing domain with this name or RDID"`
	VSID          string `query:"vsid" doc:"only those in this virtual subnet"`
	VM            string `query:"vm" doc:"only those of the VM of this name, or with this iface-id"`
	CA            string `query:"ca" doc:"only those of this customer address"`
}

type attachmentsOutput struct{ Body *Attachments }

func (s *service) statusOperations(a huma.API) {
	op := func(path, id, summary string) huma.Operation {
		return s.operation(huma.Operation{Method: http.MethodGet, Path: "/v1/" + path, OperationID: id, Tags: []string{"status"}, Summary: summary})
	}
	huma.Register(a, op("status", "status", "Tell how the controller, its hosts and all attachments are"), s.allStatus)
	huma.Register(a, op("hosts/{name}/status", "host-status", "Tell how one host is: connected, revision wanted and installed, what was refused and whose it is"), s.hostStatus)
	huma.Register(a, op("attachments", "list-attachments", "List the ports of VMs: bound to which record, and installed everywhere"), s.attachments)
}

func (s *service) allStatus(context.Context, *statusInput) (*statusOutput, error) {
	return &statusOutput{s.status.Status()}, nil
}

func (s *service) hostStatus(_ context.Context, in *hostStatusInput) (*hostStatusOutput, error) {
	st := s.status.Status()
	for i := range st.Hosts {
		if st.Hosts[i].Name == in.Name {
			return &hostStatusOutput{&st.Hosts[i]}, nil
		}
	}
	for _, e := range st.Elsewhere {
		switch {
		case e.Name != in.Name:
		case e.Status != nil:
			return &hostStatusOutput{e.Status}, nil
		case e.Controller == "":
			return nil, problem(http.StatusNotFound, TypeNotFound, fmt.Sprintf("no controller drives host %q now: try again", in.Name))
		default:
			return nil, problem(http.StatusNotFound, TypeNotFound, fmt.Sprintf("controller %s, which drives host %q, has told nothing of it yet: try again", e.Controller, in.Name))
		}
	}
	return nil, problem(http.StatusNotFound, TypeNotFound, fmt.Sprintf("there is no host %q, or nobody says how to reach it", in.Name))
}

func (s *service) attachments(_ context.Context, in *attachmentsInput) (*attachmentsOutput, error) {
	limit, err := in.limit()
	if err != nil {
		return nil, err
	}
	var after token
	if in.Continue != "" {
		if after, err = parseToken(in.Continue); err != nil {
			return nil, err
		}
	}
	var vsid tenant.VSID
	if in.VSID != "" {
		if vsid, err = vsidIn("query.vsid", in.VSID); err != nil {
			return nil, err
		}
	}
	name := in.RoutingDomain
	if id, err := tenant.ParseRDID(name); err == nil {
		if p := s.backend.Policy(); p != nil {
			if d, ok := p.RoutingDomain(id); ok {
				name = d.Name
			}
		}
	}
	st := s.status.Status()
	out := &Attachments{Attachments: []admin.Attachment{}}
	place := func(a *admin.Attachment) string { return a.Host + "\x00" + a.IfaceID } // by which they are sorted
	for i := range st.Attachments {
		a := &st.Attachments[i]
		if in.Continue != "" && place(a) <= after.After ||
			cmp.Or(in.Host, a.Host) != a.Host || cmp.Or(name, a.RoutingDomain) != a.RoutingDomain || cmp.Or(uint32(vsid), a.VSID) != a.VSID ||
			cmp.Or(in.CA, a.CA) != a.CA || in.VM != "" && in.VM != a.VM && in.VM != a.IfaceID {
			continue
		}
		if n := len(out.Attachments); n >= limit && place(a) != place(&out.Attachments[n-1]) {
			out.Continue = token{After: place(&out.Attachments[n-1])}.String()
			break
		}
		out.Attachments = append(out.Attachments, *a)
	}
	return &attachmentsOutput{out}, nil
}
