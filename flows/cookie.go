package flows

import (
	"encoding/binary"
	"net/netip"
	"slices"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// A cookie says that a flow is ours, whether it drops and why, and who owns it:
//
//	bits 63..48  0x4e56 ("NV"), the mark of all our flows
//	bit  47      1 where the flow drops packets
//	bits 46..40  the reason of the drop, else 0
//	bits 39..36  the kind of the owner
//	bits 35..0   the owner: a VSID, a table, or a hash of the owner's natural key
//
// The sentinel's cookie alone differs: its low 48 bits are the revision.
const (
	CookieMark uint64 = 0x4e56 << 48
	CookieMask uint64 = 0xffff << 48

	// ProbeMark, under CookieMask, marks the flows of a diagnosis under way
	// ([Probe]). They stand in front of others for a few seconds, change nothing
	// about what these do, and are not ours for the controllers to delete.
	ProbeMark uint64 = 0x4e50 << 48

	// All drop flows of a switch, for `ovs-ofctl dump-flows BRIDGE
	// cookie=DropMark/DropMask`.
	DropMark uint64 = CookieMark | dropBit
	DropMask uint64 = CookieMask | dropBit

	dropBit     uint64 = 1 << 47
	reasonShift        = 40
	kindShift          = 36
	idMask      uint64 = 1<<kindShift - 1
	ownerMask   uint64 = 1<<reasonShift - 1
)

// OwnerKind is the kind of object that a flow exists for.
type OwnerKind uint8

// The kinds of owners.
const (
	OwnerPipeline OwnerKind = iota // the pipeline itself: the flow is on every host
	OwnerDomain
	OwnerSubnet
	OwnerRecord
	OwnerRoute
	OwnerHost
)

// String returns the word for the kind in the tenant's language.
func (k OwnerKind) String() string {
	switch k {
	case OwnerPipeline:
		return "pipeline"
	case OwnerDomain:
		return "routing domain"
	case OwnerSubnet:
		return "subnet"
	case OwnerRecord:
		return "record"
	case OwnerRoute:
		return "route"
	case OwnerHost:
		return "host"
	}
	return "unknown"
}

// owner is the lower part of a cookie.
type owner uint64

func ownerOf(k OwnerKind, id uint64) owner { return owner(uint64(k)<<kindShift | id&idMask) }

func tableOwner(t uint8) owner                { return ownerOf(OwnerPipeline, uint64(t)) }
func domainOwner(id tenant.RDID) owner        { return ownerOf(OwnerDomain, hash(id[:])) }
func subnetOwner(v tenant.VSID) owner         { return ownerOf(OwnerSubnet, uint64(v)) }
func hostOwner(name string) owner             { return ownerOf(OwnerHost, hash([]byte(name))) }
func routeOwner(r tenant.CustomerRoute) owner { return ownerOf(OwnerRoute, hash(routeKey(r))) }

func recordOwner(r *tenant.LookupRecord) owner {
	if !r.CA.IsValid() {
		var key [9]byte
		binary.BigEndian.PutUint64(key[:], r.MAC.Uint64())
		return ownerOf(OwnerRecord, hash(append(key[:], byte(r.VSID>>16), byte(r.VSID>>8), byte(r.VSID))))
	}
	return addressOwner(r.VSID, r.CA.Addr())
}

// linkOwner is the owner of what a VM's link-local address needs, the same for
// all its records.
func linkOwner(r *tenant.LookupRecord) owner { return addressOwner(r.VSID, tenant.LinkLocal(r.MAC)) }

func addressOwner(v tenant.VSID, address netip.Addr) owner {
	var key [20]byte
	key[0], key[1], key[2] = byte(v>>16), byte(v>>8), byte(v)
	a := address.As16()
	copy(key[3:], a[:])
	return ownerOf(OwnerRecord, hash(key[:]))
}

func routeKey(r tenant.CustomerRoute) []byte {
	p := r.Prefix.Prefix()
	to, hop := p.Addr().As16(), r.NextHop.Addr().As16()
	key := slices.Concat(r.RDID[:], to[:], []byte{byte(p.Bits())}, hop[:])
	key = binary.BigEndian.AppendUint32(key, r.Metric)
	if r.VSID != 0 { // a black hole has no next hop, which tells it apart
		key = binary.BigEndian.AppendUint32(key, uint32(r.VSID))
	}
	return key
}

// cookie returns the cookie of a flow that serves o.
func (o owner) cookie() uint64 { return CookieMark | uint64(o) }

// drop returns the cookie of a flow that drops packets for o's sake.
func (o owner) drop(r DropReason) uint64 {
	return DropMark | uint64(r)<<reasonShift | uint64(o)
}

// Ours reports whether a flow with that cookie was made by this product.
func Ours(cookie uint64) bool { return cookie&CookieMask == CookieMark }

// Probe reports whether a flow with that cookie watches the packets of a
// diagnosis.
func Probe(cookie uint64) bool { return cookie&CookieMask == ProbeMark }

// Reason returns why a flow with that cookie drops packets; false where it does
// not drop.
func Reason(cookie uint64) (DropReason, bool) {
	if cookie&DropMask != DropMark {
		return 0, false
	}
	return DropReason(cookie >> reasonShift & 0x7f), true
}

// hash returns a hash of key that is the same in every process and release:
// FNV-1a with a finalizer, since its low bits alone are poor for short keys.
func hash(key []byte) uint64 {
	h := uint64(0xcbf29ce484222325)
	for _, c := range key {
		h = (h ^ uint64(c)) * 0x100000001b3
	}
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	return h ^ h>>33
}
