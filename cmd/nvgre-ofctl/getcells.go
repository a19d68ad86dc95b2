package main

import (
	"fmt"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// The cells of wide tables that show several attributes.

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

// number returns n, or "" where there is none.
func number[T ~uint16 | ~uint32](n T) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(uint32(n))
}

func recordType(o *tenant.RecordOptions) string {
	if o == nil {
		return tenant.Static.String()
	}
	return o.Type.String()
}

// recordOptions shows what differs from the default, in the words of the policy
// file.
func recordOptions(o *tenant.RecordOptions) string {
	if o == nil {
		return ""
	}
	var all []string
	if o.Rule != tenant.Encap {
		all = append(all, o.Rule.String()+" "+o.NatPA.String())
	}
	if o.Forwarding {
		all = append(all, "forwarding")
	}
	if len(o.VLANs) > 0 {
		all = append(all, "vlans "+strings.Trim(fmt.Sprint(o.VLANs), "[]"))
	}
	if o.UseVMMAC {
		all = append(all, "use_vm_mac")
	}
	if len(o.Allow) > 0 {
		all = append(all, "allow "+strings.ReplaceAll(joined(o.Allow), ",", ""))
	}
	if o.Context != "" {
		all = append(all, fmt.Sprintf("context %q", o.Context))
	}
	return strings.Join(all, ", ")
}

func providerAddresses(all []tenant.ProviderAddress, wide bool) string {
	texts := make([]string, len(all))
	for i, a := range all {
		texts[i] = a.PA.String()
		if !wide {
			continue
		}
		if a.Weight > 1 {
			texts[i] += fmt.Sprintf(" weight %d", a.Weight)
		}
		if a.Uplink != "" {
			texts[i] += " on " + a.Uplink
		}
		if a.VLAN != 0 {
			texts[i] += fmt.Sprintf(" VLAN %d", a.VLAN)
		}
	}
	return strings.Join(texts, ", ")
}

func providerRoutes(all []tenant.ProviderRoute) string {
	texts := make([]string, len(all))
	for i, r := range all {
		texts[i] = fmt.Sprintf("%s by %s", r.Prefix, r.NextHop)
	}
	return strings.Join(texts, ", ")
}
