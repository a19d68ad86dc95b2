package hnv

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// ifacePrefix begins the -Context of a record that gives the iface-id of its VM
// and nothing else.
const ifacePrefix = "iface_id="

// extra is what a record has and the cmdlets have no parameter for. It stands in
// -Context, as JSON.
type extra struct {
	IfaceID    string            `json:"iface_id,omitempty"`
	Context    string            `json:"context,omitempty"`
	Forwarding bool              `json:"forwarding,omitempty"`
	VLANs      []uint16          `json:"vlans,omitempty"`
	Allow      []tenant.CAPrefix `json:"allow,omitempty"`
}

// contextOf returns what a record has for -Context; "" where it needs none.
func contextOf(r *tenant.LookupRecord) string {
	e := extra{Context: r.Context, Forwarding: r.Forwarding, VLANs: r.VLANs, Allow: r.Allow}
	if r.IfaceID != r.VM {
		e.IfaceID = r.IfaceID
	}
	bare := !e.Forwarding && len(e.VLANs) == 0 && len(e.Allow) == 0
	switch {
	case bare && e.Context == "" && e.IfaceID == "":
		return ""
	case bare && e.Context == "":
		return ifacePrefix + e.IfaceID
	case bare && e.IfaceID == "" && !strings.HasPrefix(e.Context, ifacePrefix) && !strings.HasPrefix(e.Context, "{"):
		return e.Context
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(e); err != nil {
		panic(fmt.Sprintf("a record's context cannot be written as JSON: %v", err)) // it is text and numbers
	}
	return strings.TrimSpace(b.String())
}

// parseContext reads what contextOf writes, and takes all else for a context.
func parseContext(s string) extra {
	if iface, ok := strings.CutPrefix(s, ifacePrefix); ok {
		return extra{IfaceID: iface}
	}
	var e extra
	dec := json.NewDecoder(strings.NewReader(s))
	dec.DisallowUnknownFields()
	if strings.HasPrefix(s, "{") && dec.Decode(&e) == nil && !dec.More() {
		return e
	}
	return extra{Context: strings.TrimSpace(s)}
}
