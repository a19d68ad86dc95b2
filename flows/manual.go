package flows

import (
	"fmt"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// PipelineFlows is how many flows every switch has, whatever it holds.
const PipelineFlows = 53

// Manual renders the pipeline's manual, docs/PIPELINE.md, from the declarations.
// The flows shown for each table come from examples, which the caller compiles:
// one of each kind, in the words of namer.
func Manual(examples []flow.Flow, namer *Namer) string {
	var b strings.Builder
	p := func(format string, args ...any) { fmt.Fprintf(&b, format, args...) }

	p("# The pipeline\n\n")
	p("Generated from the declarations in package flows; `go generate ./flows` writes it anew.\n\n")
	p("A packet enters table %d and goes forward only: every `goto` leads to a table with a greater number, so no packet can loop.\n", tableClassify)
	p("Every table ends in a drop flow with a cookie of its own, so that a counter tells why a packet died.\n\n")

	p("## Tables\n\n| table | name | goes to | what other flows do not take |\n|---|---|---|---|\n")
	for _, t := range Pipeline() {
		p("| %d | [%s](#%s) | %s | %s |\n", t.ID, t.Name, t.Name, tableList(t.Next, t.Outputs), t.Miss)
	}
	p("\n## Registers\n\n| name | bits | holds |\n|---|---|---|\n")
	for _, r := range Registers() {
		p("| %s | `%s` | %s |\n", r.Name, r.Bits.Text(), r.Purpose)
	}
	p("\nNumbers of routing domains and hosts are hashes of their RDID and name: a new object leaves the numbers of the others as they are.\n")

	p("\n## Cookies\n\n| bits | meaning |\n|---|---|\n")
	p("| 63..48 | `0x%x`: the flow is ours. Flows without the mark are never changed or deleted |\n", CookieMark>>48)
	p("| 47 | the flow drops packets |\n| 46..40 | the reason of the drop |\n| 39..36 | kind of the owner: ")
	for k := OwnerPipeline; k <= OwnerHost; k++ {
		if k > 0 {
			p(", ")
		}
		p("%d %s", k, k)
	}
	p(" |\n| 35..0 | the owner: table number, VSID, or a hash of the natural key |\n\n")
	p("The sentinel's low 48 bits are the revision. All drop counters of a switch at once:\n\n")
	p("    ovs-ofctl dump-flows br-int cookie=0x%x/0x%x\n", DropMark, DropMask)

	p("\n## How many flows a host has\n\n")
	p("%d for the pipeline itself and 1 for the host itself, and\n\n", PipelineFlows)
	p("- for each VM on the host 6, and with IPv4 3 and 4 for each CA, with IPv6 12 and 5 for each CA; where its subnet has DHCP, 1 with IPv4 and 2 with IPv6;\n")
	p("  where it has a wildcard, 7 more with IPv4 and 8 more with IPv6; where it forwards in a family without one, 3 more;\n")
	p("- for the flow-based gre port 3; or for the port of each virtual subnet 2, and 1 more where its routing domain is here;\n")
	p("- for each routing domain that has a VM here: for each subnet 1 and 4 for each prefix, 2 where a prefix is IPv4 and 4 where one is IPv6;\n")
	p("  **1 for each CA**, and 1 for the link-local address of each VM with an IPv6 CA, and 1 for each prefix of a wildcard's subnet and family, but none for records of type l2only; 1 for each prefix that customer routes lead to;\n")
	p("- for each other host with VMs of these routing domains: 1 for each pair of provider addresses of one family, and 1.\n\n")
	p("A VM elsewhere with one CA of each family thus costs 3 flows, a VM here 33.\n")

	p("\n## Why packets are dropped\n\n| reason | number | meaning |\n|---|---|---|\n")
	for _, r := range DropReasons() {
		p("| %s | %d | %s |\n", r, r, r.Text())
	}

	seen := make(map[string]bool)
	for _, t := range Pipeline() {
		p("\n## %s\n\nTable %d. %s\n\n", t.Name, t.ID, t.Purpose)
		p("- matches: %s\n- sets: %s\n- goes to: %s\n- miss: %s\n", bitsList(t.Matches), bitsList(t.Sets), tableList(t.Next, t.Outputs), t.Miss)
		first := true
		for i := range examples {
			f := &examples[i]
			if k := shape(f); f.Table != t.ID || seen[k] {
				continue
			} else {
				seen[k] = true
			}
			if first {
				p("\nFlows, one of each kind, from an example:\n\n")
				first = false
			}
			p("    %s  # %s\n", namer.Flow(f), namer.OwnerText(f.Cookie))
		}
	}
	return b.String()
}

// kindField has the fields whose values are kinds of packets.
var kindField = [flow.NumFields]bool{flow.EthType: true, flow.IPTTL: true, flow.ARPOp: true, flow.ICMPType: true, flow.ICMPv6Type: true}

// shape is equal for flows that differ in values only.
func shape(f *flow.Flow) string {
	var b strings.Builder
	reason, _ := Reason(f.Cookie)
	// Priorities in route grow with the prefix: only the rank is the kind.
	priority := f.Priority
	if f.Table == tableRoute && priority < prioRouteNoARP {
		priority %= 4
	}
	fmt.Fprintf(&b, "%d %d %d", f.Table, priority, reason)
	for _, t := range f.Match {
		fmt.Fprintf(&b, " %d", t.Field)
		if kindField[t.Field] || t.Value.IsZero() {
			fmt.Fprintf(&b, "=%s", t.Value)
		}
	}
	for _, a := range f.Actions {
		fmt.Fprintf(&b, " %d.%d", a.Op, a.Dst.Field)
	}
	return b.String()
}

func bitsList(bs []flow.Bits) string {
	if len(bs) == 0 {
		return "nothing"
	}
	names := make([]string, len(bs))
	for i, b := range bs {
		names[i], _ = bitsName(b)
	}
	return strings.Join(names, ", ")
}

func tableList(ids []uint8, outputs bool) string {
	var names []string
	for _, id := range ids {
		names = append(names, TableName(id))
	}
	if outputs {
		names = append(names, "a port")
	}
	if len(names) == 0 {
		return "nowhere"
	}
	return strings.Join(names, ", ")
}
