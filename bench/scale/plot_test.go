package scale

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet"
)

// point is what one size costs.
type point struct {
	plan                                  fleet.Plan
	load, compile, change, resync, memory float64 // s, s, ms, ms, MiB
}

// curves are the costs that are plotted.
var curves = []struct {
	name, colour string
	of           func(point) float64
}{
	{"heap, MiB", "#7570b3", func(p point) float64 { return p.memory }},
	{"resync of a host, ms", "#66a61e", func(p point) float64 { return p.resync }},
	{"one change, ms", "#d95f02", func(p point) float64 { return p.change }},
	{"load, s", "#1b9e77", func(p point) float64 { return p.load }},
	{"compile, s", "#e7298a", func(p point) float64 { return p.compile }},
}

// plot writes the costs as an SVG of two panels, all axes logarithmic: against
// the records with 10 hosts that hold them all, and against the hosts with
// 100,000 records.
func plot(tb testing.TB, file string, points []point) {
	const width, height = 900, 400
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, 2*height)
	fmt.Fprint(&s, `<rect width="100%" height="100%" fill="white"/>`+"\n")
	records := pick(points, func(p fleet.Plan) bool { return p.Hosts == 10 && p.Domains == 20 })
	hosts := pick(points, func(p fleet.Plan) bool { return p.Records == 100_000 && p.Domains == 2000 })
	panel(&s, 0, "Cost against lookup records: 10 hosts that hold all 20 routing domains", "lookup records", records, func(p fleet.Plan) int { return p.Records })
	panel(&s, height, "Cost against hosts: 100,000 records, each host holds 20 of 2,000 routing domains", "hosts", hosts, func(p fleet.Plan) int { return p.Hosts })
	s.WriteString("</svg>\n")
	if err := os.WriteFile(file, []byte(s.String()), 0o644); err != nil {
		tb.Fatal(err)
	}
}

func pick(points []point, want func(fleet.Plan) bool) []point {
	return slices.DeleteFunc(slices.Clone(points), func(p point) bool { return !want(p.plan) })
}

// panel draws the points, whose places along the axis rise tenfold from one to
// the next.
func panel(s *strings.Builder, top float64, title, axis string, points []point, at func(fleet.Plan) int) {
	if len(points) < 2 {
		return
	}
	const left, right, above, width, height = 60, 720, 30, 660, 310
	first, last := math.Log10(float64(at(points[0].plan))), math.Log10(float64(at(points[len(points)-1].plan)))
	const least, most = -4, 4 // decades
	x := func(v float64) float64 { return left + (math.Log10(v)-first)/(last-first)*width }
	y := func(v float64) float64 {
		return top + above + height - (max(math.Log10(v), least)-least)/(most-least)*height
	}
	fmt.Fprintf(s, `<text x="%d" y="%.0f">%s</text>`+"\n", left, top+18, title)
	for e := least; e <= most; e++ {
		v := math.Pow10(e)
		fmt.Fprintf(s, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			left, right, y(v), y(v), left-6, y(v)+4, v)
	}
	for _, p := range points {
		v := float64(at(p.plan))
		fmt.Fprintf(s, `<line x1="%.1f" x2="%.1f" y1="%.0f" y2="%.0f" stroke="#ddd"/><text x="%.1f" y="%.0f" text-anchor="middle">%.0f</text>`+"\n",
			x(v), x(v), top+above, top+above+height, x(v), top+above+height+18, v)
	}
	fmt.Fprintf(s, `<text x="%d" y="%.0f" text-anchor="middle">%s</text>`+"\n", (left+right)/2, top+above+height+36, axis)
	for _, c := range curves {
		var line []string
		for _, p := range points {
			px, py := x(float64(at(p.plan))), y(c.of(p))
			line = append(line, fmt.Sprintf("%.1f,%.1f", px, py))
			fmt.Fprintf(s, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", px, py, c.colour)
		}
		fmt.Fprintf(s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(line, " "), c.colour)
		fmt.Fprintf(s, `<text x="%d" y="%.1f" fill="%s">%s</text>`+"\n", right+10, y(c.of(points[len(points)-1]))+4, c.colour, c.name)
	}
}
