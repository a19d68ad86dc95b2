//go:build linux

package testbed

import (
	"fmt"
	"io"
	"slices"
	"strconv"
)

// WriteTable writes the matrix for people: a row for each sender, a column for
// each receiver, and below it, in words, what differs.
func (m *Matrix) WriteTable(w io.Writer) error {
	var vms []string
	cells := make(map[[2]string]string)
	reached, isolated := 0, 0
	for i := range m.Pairs {
		p := &m.Pairs[i]
		for _, vm := range []string{p.From, p.To} {
			if !slices.Contains(vms, vm) {
				vms = append(vms, vm)
			}
		}
		key := [2]string{p.From, p.To}
		if c, ok := cells[key]; ok && (!p.OK || c[len(c)-1] == '!') {
			cells[key] = "!"
		} else if !ok {
			cells[key] = p.cell()
		}
		switch {
		case p.OK && p.Expected.Delivered:
			reached++
		case p.OK:
			isolated++
		}
	}
	width := 4
	for _, vm := range vms {
		width = max(width, len(vm))
	}
	pr := &grapher{w: w}
	head := fmt.Sprintf("%-*s", width, "from\\to")
	for i := range vms {
		head += fmt.Sprintf(" %3s", "#"+strconv.Itoa(i+1))
	}
	pr.line("%s", head)
	for i, from := range vms {
		row := fmt.Sprintf("%-*s", width, from)
		for _, to := range vms {
			c := cells[[2]string{from, to}]
			if from == to {
				c = "."
			}
			row += fmt.Sprintf(" %3s", c)
		}
		pr.line("%s  #%d", row, i+1)
	}
	pr.line("A number is the TTL of an echo request on arrival at that VM (%d: same subnet, %d: routed), -- means that", LinuxTTL, LinuxTTL-1)
	pr.line("nothing arrived at that VM, and ! marks what the policy does not want.")
	for _, p := range m.Pairs {
		if !p.OK {
			pr.line("! %s", p.Why)
		}
	}
	pr.line("%d of %d as expected: %d reachable, %d isolated; %d requests sent again", len(m.Pairs)-m.Differences, len(m.Pairs), reached, isolated, m.Resent)
	return pr.err
}

func (p *Pair) cell() string {
	c := "--"
	if p.Actual.Delivered {
		c = strconv.Itoa(int(p.Actual.TTL))
	}
	if !p.OK {
		c += "!"
	}
	return c
}
