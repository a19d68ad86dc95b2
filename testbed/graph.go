//go:build linux

package testbed

import (
	"fmt"
	"io"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// WriteMermaid draws the plan as a Mermaid flowchart.
func WriteMermaid(w io.Writer, p *topology.Plan) error {
	g := &grapher{w: w}
	g.line("flowchart TB")
	if len(p.Subnets) > 1 {
		g.line(`  router(("underlay router"))`)
	}
	for i, s := range p.Subnets {
		g.line("  s%d{{\"%s<br/>%s\"}}", i, s.Name, s.Prefix)
		if s.Router.IsValid() && len(p.Subnets) > 1 {
			g.line("  router ---|%s| s%d", s.Router, i)
		}
	}
	for i, h := range p.Hosts {
		g.line("  subgraph h%d[\"%s\"]", i, h.Name)
		g.line("    b%d[\"br-int<br/>PA %s\"]", i, joinPAs(&h))
		for j, v := range p.VMs {
			if v.Host == h.Name {
				g.line("    v%d(\"%s<br/>%s %s\")", j, v.IfaceID, v.Domain, v.CA())
			}
		}
		g.line("  end")
		g.line("  s%d --- b%d", subnetIndex(p, h.Subnet), i)
		for j, v := range p.VMs {
			if v.Host == h.Name {
				g.line("  b%d ---|VSID %d| v%d", i, v.VSID, j)
			}
		}
	}
	return g.err
}

// WriteDOT draws the plan in the language of Graphviz.
func WriteDOT(w io.Writer, p *topology.Plan) error {
	g := &grapher{w: w}
	g.line("graph %q {", p.Name)
	g.line("  node [shape=box, fontname=sans]; edge [fontname=sans];")
	if len(p.Subnets) > 1 {
		g.line("  router [shape=circle, label=\"underlay\\nrouter\"];")
	}
	for i, s := range p.Subnets {
		g.line("  s%d [shape=hexagon, label=\"%s\\n%s\"];", i, s.Name, s.Prefix)
		if s.Router.IsValid() && len(p.Subnets) > 1 {
			g.line("  router -- s%d [label=\"%s\"];", i, s.Router)
		}
	}
	for i, h := range p.Hosts {
		g.line("  subgraph cluster_h%d {", i)
		g.line("    label=%q;", h.Name)
		g.line("    b%d [label=\"br-int\\nPA %s\"];", i, joinPAs(&h))
		for j, v := range p.VMs {
			if v.Host == h.Name {
				g.line("    v%d [style=rounded, label=\"%s\\n%s %s\"];", j, v.IfaceID, v.Domain, v.CA())
				g.line("    b%d -- v%d [label=\"VSID %d\"];", i, j, v.VSID)
			}
		}
		g.line("  }")
		g.line("  s%d -- b%d;", subnetIndex(p, h.Subnet), i)
	}
	g.line("}")
	return g.err
}

type grapher struct {
	w   io.Writer
	err error
}

func (g *grapher) line(format string, args ...any) {
	if g.err == nil {
		_, g.err = fmt.Fprintf(g.w, format+"\n", args...)
	}
}

func joinPAs(h *topology.Host) string {
	var pas []string
	for _, pa := range h.PAs {
		pas = append(pas, pa.Addr().String())
	}
	return joinText(pas)
}

func subnetIndex(p *topology.Plan, name string) int {
	for i, s := range p.Subnets {
		if s.Name == name {
			return i
		}
	}
	return 0
}
