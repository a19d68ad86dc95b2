package flows_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// families says which families of addresses there are.
func families(all func(yield func(four bool) bool)) (four, six int) {
	for is4 := range all {
		if is4 {
			four++
		} else {
			six++
		}
	}
	return four, six
}

func min1(n int) int { return min(n, 1) }

// flowCount is the formula of docs/PIPELINE.md.
func flowCount(p *tenant.Policy, at flows.Placement, v flows.HostView, pipeline int) int {
	n := pipeline + 1 // and the way to itself
	c := flows.NewCompiler(p, at)
	held := make(map[tenant.RDID]bool)
	for _, a := range v.Attachments {
		var wild4, wild6 int
		four, six := families(func(yield func(bool) bool) {
			for r := range p.RecordsByIfaceID(a.IfaceID) {
				held[r.RDID] = true
				switch {
				case r.Type == tenant.Wildcard && r.CA.Addr().Is4():
					wild4 = 1
				case r.Type == tenant.Wildcard:
					wild6 = 1
				case r.Type == tenant.Static && !yield(r.CA.Addr().Is4()):
					return
				}
			}
		})
		n += 6 + 4*four + 3*min1(four+wild4) + 5*six + 12*min1(six+wild6) + 7*wild4 + 8*wild6
		if r, ok := p.RecordByIfaceID(a.IfaceID); ok {
			if s, _ := p.Subnet(r.VSID); s.DHCP {
				n += min1(four+wild4) + 2*min1(six+wild6)
			}
		}
	}
	if v.Tunnels.PerVSID == nil {
		n += 3 * min1(int(v.Tunnels.Flow))
	}
	for vsid := range v.Tunnels.PerVSID {
		n += 2
		if s, ok := p.Subnet(vsid); ok && held[s.RDID] {
			n++
		}
	}
	peers := make(map[string]bool)
	for id := range held {
		for s := range p.SubnetsOf(id) {
			four, six := families(func(yield func(bool) bool) {
				for _, x := range s.Prefixes {
					if !yield(x.Prefix().Addr().Is4()) {
						return
					}
				}
			})
			n += 1 + 2*min1(four) + 4*min1(six) + 4*(four+six)
			links := make(map[tenant.MAC]bool)
			for r := range p.RecordsOf(s.VSID) {
				switch r.Type {
				case tenant.Static:
					n++
				case tenant.Wildcard:
					for _, x := range s.Prefixes {
						if x.Prefix().Addr().Is4() == r.CA.Addr().Is4() {
							n++
						}
					}
				}
				if r.CA.Addr().Is6() {
					links[r.MAC] = true
				}
				peers[c.HostOf(&r)] = true
			}
			n += len(links)
		}
		prefixes := make(map[tenant.CAPrefix]bool)
		for r := range p.RoutesOf(id) {
			prefixes[r.Prefix] = true
		}
		n += len(prefixes)
	}
	delete(peers, v.Name)
	self, _ := p.Host(v.Name)
	for name := range peers {
		peer, ok := p.Host(name)
		if !ok {
			continue // nobody knows where that VM is
		}
		pairs := 0
		for _, x := range self.ProviderAddresses {
			for _, y := range peer.ProviderAddresses {
				if x.PA.Addr().Is4() == y.PA.Addr().Is4() {
					pairs++
				}
			}
		}
		n += pairs + min1(pairs)
	}
	return n
}

// pipelineCount returns how many flows every switch has.
func pipelineCount(t interface{ Fatal(...any) }) int {
	c := flows.NewCompiler(tenant.Empty(), flows.Placement{})
	fs, problems := c.Flows(flows.PipelineUnit())
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return len(fs)
}

// A host has as many flows as the formula in docs/PIPELINE.md says.
func TestFlowCount(t *testing.T) {
	pipeline := pipelineCount(t)
	if pipeline != flows.PipelineFlows {
		t.Errorf("the pipeline has %d flows; flows.PipelineFlows, which docs/PIPELINE.md shows, says %d", pipeline, flows.PipelineFlows)
	}
	for _, s := range scenarios {
		p, v, res := s.compile(t)
		if got, want := len(res.Flows), flowCount(p, s.place, v, pipeline); got != want {
			t.Errorf("%s: %d flows, the formula says %d", s.name, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		p, problems := tenant.New(randomSpec(t), 1)
		if len(problems) > 0 {
			t.Fatal(problems)
		}
		at := flows.PlannedPlacement(p)
		for h := range p.Hosts() {
			v := flows.PlannedView(p, at, h.Name)
			if got, want := len(flows.Compile(p, at, v).Flows), flowCount(p, at, v, pipeline); got != want {
				t.Fatalf("%s: %d flows, the formula says %d", h.Name, got, want)
			}
		}
	})
}
