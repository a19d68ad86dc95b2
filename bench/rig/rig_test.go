package rig

import (
	"context"
	"errors"
	"net/netip"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// A workload whose VMs share an address within a subnet would measure refusals.
func TestWorkload(t *testing.T) {
	for _, s := range []Size{{1, 1, 1}, {2, 20, 2}, {4, 4000, 2}, {4, 4001, 3}} {
		type place struct {
			tenant, subnet int
			ca             netip.Addr
		}
		seen, names, macs := map[place]bool{}, map[string]bool{}, map[tenant.MAC]bool{}
		per := make([]int, s.Chassis)
		for n, v := range s.VMs(0, s.Ports) {
			at := place{v.Tenant, v.Subnet, v.CA}
			if v.Number != n || seen[at] || names[v.Name] || macs[v.MAC] || !Prefix(v.Subnet).Contains(v.CA) || v.CA == Gateway(v.Subnet) || v.Tenant >= s.Tenants || len(v.Port) > 15 {
				t.Fatalf("%+v: %+v", s, v)
			}
			seen[at], names[v.Name], macs[v.MAC] = true, true, true
			per[v.Chassis]++
		}
		for _, n := range per {
			if want := s.Ports / s.Chassis; n < want-Subnets*s.Tenants || n > want+Subnets*s.Tenants {
				t.Errorf("%+v: ports of the chassis: %v", s, per)
			}
		}
	}
}

func TestBoard(t *testing.T) {
	b := NewBoard()
	b.Note("a")
	go b.Note("b")
	last, err := b.Wait(t.Context(), "b", "a")
	if err != nil || last.IsZero() {
		t.Fatal(last, err)
	}
	b.Note("b") // only the first time counts
	if again, err := b.Wait(t.Context(), "a", "b"); err != nil || again != last {
		t.Error(again, last, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := b.Wait(ctx, "a", "never"); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
}

func TestQuantile(t *testing.T) {
	v := []float64{5, 1, 4, 2, 3}
	if Median(v) != 3 || Quantile(v, 0.99) != 5 || Quantile(v, 0) != 1 || v[0] != 5 {
		t.Error(Median(v), Quantile(v, 0.99), Quantile(v, 0), v)
	}
}

func TestScopeEndsOnce(t *testing.T) {
	var got []int
	s := NewScope(t)
	for n := range 3 {
		s.Cleanup(func() { got = append(got, n) })
	}
	s.End()
	s.End()
	if len(got) != 3 || got[0] != 2 {
		t.Error(got)
	}
}
