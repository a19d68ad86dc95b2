package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
)

// shownFlow is one flow to print.
type shownFlow struct {
	flow.Flow
	live     bool // the rest is known
	packets  uint64
	bytes    uint64
	duration time.Duration
	unknown  string // what the vocabulary of flow.Flow cannot express about it
}

func plainFlows(fs []flow.Flow) []shownFlow {
	out := make([]shownFlow, len(fs))
	for i := range fs {
		out[i].Flow = fs[i]
	}
	return out
}

// jsonFlow is a flow as -o json writes it.
type jsonFlow struct {
	Table         uint8    `json:"table"`
	TableName     string   `json:"table_name"`
	Priority      uint16   `json:"priority"`
	Cookie        string   `json:"cookie"`
	Foreign       bool     `json:"foreign"`
	Owner         string   `json:"owner"`
	OwnerKind     string   `json:"owner_kind,omitempty"`
	RoutingDomain string   `json:"routing_domain,omitempty"`
	VM            string   `json:"vm,omitempty"`
	Source        string   `json:"source,omitempty"` // file:line:column of the owner in the policy
	Drop          string   `json:"drop,omitempty"`   // the reason
	Flow          string   `json:"flow"`             // what ovs-ofctl accepts
	Named         string   `json:"named"`
	Unknown       string   `json:"unknown,omitempty"`
	Packets       *uint64  `json:"packets,omitempty"`
	Bytes         *uint64  `json:"bytes,omitempty"`
	Age           *float64 `json:"age_seconds,omitempty"`
}

// printFlows writes flows in one of the forms named, ovs and json.
func printFlows(w io.Writer, form string, n *flows.Namer, fs []shownFlow) error {
	b := bufio.NewWriterSize(w, 1<<16)
	if form == "json" {
		out := make([]jsonFlow, len(fs))
		for i := range fs {
			out[i] = toJSON(n, &fs[i])
		}
		e := json.NewEncoder(b)
		e.SetIndent("", "  ")
		e.SetEscapeHTML(false)
		if err := e.Encode(out); err != nil {
			return err
		}
		return b.Flush()
	}
	for i := range fs {
		f := &fs[i]
		if form == "ovs" {
			if f.unknown != "" {
				fmt.Fprintf(b, "# %s: see ovs-ofctl dump-flows\n# ", f.unknown)
			}
			fmt.Fprintln(b, f.Text())
			continue
		}
		text := n.Flow(&f.Flow)
		if f.unknown != "" {
			text += " (" + f.unknown + ")"
		}
		if f.live {
			fmt.Fprintf(b, "%s  [%s; %d packets, %d bytes]\n", text, ownerText(n, &f.Flow), f.packets, f.bytes)
		} else {
			fmt.Fprintf(b, "%s  [%s]\n", text, ownerText(n, &f.Flow))
		}
	}
	return b.Flush()
}

// ownerText names a flow's owner. The sentinel's cookie is a revision and names
// none.
func ownerText(n *flows.Namer, f *flow.Flow) string {
	if _, ok := flows.SentinelRevision(f); ok {
		return "controller"
	}
	return n.OwnerText(f.Cookie)
}

func toJSON(n *flows.Namer, f *shownFlow) jsonFlow {
	j := jsonFlow{
		Table: f.Table, TableName: flows.TableName(f.Table), Priority: f.Priority, Cookie: fmt.Sprintf("%#x", f.Cookie),
		Foreign: !flows.Ours(f.Cookie), Owner: ownerText(n, &f.Flow), Flow: f.Text(), Named: n.Flow(&f.Flow), Unknown: f.unknown,
	}
	if _, ok := flows.SentinelRevision(&f.Flow); ok {
		j.OwnerKind = "controller"
	} else if owners := n.Owners(f.Cookie); len(owners) == 1 {
		o := owners[0]
		j.OwnerKind, j.RoutingDomain, j.VM, j.Source = o.Kind.String(), o.RoutingDomain, o.VM, o.Source.String()
	}
	if r, ok := flows.Reason(f.Cookie); ok {
		j.Drop = r.String()
	}
	if f.live {
		age := f.duration.Seconds()
		j.Packets, j.Bytes, j.Age = &f.packets, &f.bytes, &age
	}
	return j
}
