package flows

import (
	"fmt"
	"hash/maphash"
	"iter"
	"maps"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/persist"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Placement says on which host a VM is attached, by iface-id. A lookup record
// that leaves it to where its attachment appears has its VM there; of others it
// says whether they are attached at all, which counts for the next hops of routes. It is a value: a changed one shares with the one before
// what both have in common. The zero Placement knows of no VM.
type Placement struct {
	places persist.Hash[place]
	n      int
}

type place struct{ iface, host string }

// placeSeed keeps those who choose iface-ids from choosing their hashes too.
// Nothing that is compiled depends on it.
var placeSeed = maphash.MakeSeed()

// NewPlacement returns the placement that has the host of each iface-id.
func NewPlacement(hosts map[string]string) Placement { return Placement{}.WithAll(maps.All(hosts)) }

// Host returns the host that a VM is on; "" where nobody knows.
func (p Placement) Host(iface string) string {
	at, _ := p.places.Find(maphash.String(placeSeed, iface), func(q place) bool { return q.iface == iface })
	return at.host
}

// With returns p with a VM on that host; "" takes it out.
func (p Placement) With(iface, host string) Placement {
	return p.WithAll(func(yield func(string, string) bool) { yield(iface, host) })
}

// WithAll returns p with each VM on its host, as [Placement.With] does it.
func (p Placement) WithAll(hosts iter.Seq2[string, string]) Placement {
	o := &persist.Owner{}
	for iface, host := range hosts {
		hash := maphash.String(placeSeed, iface)
		same := func(q place) bool { return q.iface == iface }
		if at, _ := p.places.Find(hash, same); at.host == host {
			continue
		}
		if _, there := p.places.Delete(o, hash, same); there {
			p.n--
		}
		if host != "" {
			p.places.Insert(o, hash, place{iface, host}, same)
			p.n++
		}
	}
	return p
}

// Len returns the number of VMs that p knows of.
func (p Placement) Len() int { return p.n }

// All yields the iface-ids with their hosts, in no order.
func (p Placement) All() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for at := range p.places.All() {
			if !yield(at.iface, at.host) {
				return
			}
		}
	}
}

// Equal reports whether p and q say the same.
func (p Placement) Equal(q Placement) bool {
	if p.places == q.places {
		return true
	}
	if p.n != q.n {
		return false
	}
	for iface, host := range p.All() {
		if q.Host(iface) != host {
			return false
		}
	}
	return true
}

// Place works out where the VMs are attached, and reports attachments that fit no record or the wrong one. Where two hosts have
// an attachment of one such VM, as in a live migration, the host that stands
// first by name has it.
func Place(p *tenant.Policy, attachments map[string][]Attachment) (Placement, []Problem) {
	at := make(map[string]string)
	var problems []Problem
	for _, host := range slices.Sorted(maps.Keys(attachments)) {
		for _, a := range attachments[host] {
			r, ok := p.RecordByIfaceID(a.IfaceID)
			if at[a.IfaceID] == "" {
				at[a.IfaceID] = host
			}
			if text := misplaced(a.IfaceID, host, r, ok, at[a.IfaceID]); text != "" {
				problems = append(problems, Problem{Host: host, IfaceID: a.IfaceID, Text: text})
			}
		}
	}
	return NewPlacement(at), problems
}

// Misplaced says what is wrong with an attachment of that iface-id on a host,
// where the VMs are as at has it; "" where nothing is.
func Misplaced(p *tenant.Policy, at Placement, iface, host string) string {
	r, ok := p.RecordByIfaceID(iface)
	first := ""
	if r.Host == "" {
		first = at.Host(iface)
	}
	return misplaced(iface, host, r, ok, first)
}

func misplaced(iface, host string, r tenant.LookupRecord, known bool, first string) string {
	switch {
	case !known:
		return fmt.Sprintf("no lookup record has iface-id %s: add a record, or correct the iface-id", iface)
	case r.Host != "" && r.Host != host:
		return fmt.Sprintf("VM %s is attached to host %s, but its lookup record puts it on %s: move the VM or change the record", r.VM, host, r.Host)
	case r.Host == "" && first != host:
		return fmt.Sprintf("VM %s is attached to hosts %s and %s: %s has it; remove the other attachment, or name the host in the lookup record", r.VM, first, host, first)
	}
	return ""
}
