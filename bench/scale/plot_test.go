package scale

import (
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"
)

// point is what one size costs.
type point struct {
	hosts, records                int
	load, compile, change, memory float64 // s, s, µs, MiB
}

// plot writes the costs of 1,000 hosts against the records as an SVG, both axes
// logarithmic.
func plot(tb testing.TB, file string, points []point) {
	const width, height, left, top, right, bottom = 720, 420, 60, 30, 180, 50
	points = slices.DeleteFunc(slices.Clone(points), func(p point) bool { return p.hosts != 1000 })
	slices.SortFunc(points, func(a, b point) int { return a.records - b.records })
	x := func(v float64) float64 { return left + (math.Log10(v)-4)/2*(width-left-right) }
	y := func(v float64) float64 { return height - bottom - (math.Log10(v)+2)/6*(height-top-bottom) }
	var s strings.Builder
	fmt.Fprintf(&s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(&s, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="18">Cost against lookup records: 1,000 hosts with 20 of 2,000 routing domains each</text>`+"\n", left)
	for e := -2; e <= 4; e++ {
		v := math.Pow10(e)
		fmt.Fprintf(&s, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end">%g</text>`+"\n",
			left, width-right, y(v), y(v), left-6, y(v)+4, v)
	}
	for _, v := range []float64{1e4, 1e5, 1e6} {
		fmt.Fprintf(&s, `<line x1="%.1f" x2="%.1f" y1="%d" y2="%d" stroke="#ddd"/><text x="%.1f" y="%d" text-anchor="middle">%.0f</text>`+"\n",
			x(v), x(v), top, height-bottom, x(v), height-bottom+18, v)
	}
	fmt.Fprintf(&s, `<text x="%d" y="%d" text-anchor="middle">lookup records</text>`+"\n", (left+width-right)/2, height-12)
	for _, c := range []struct {
		name, colour string
		of           func(point) float64
	}{
		{"heap, MiB", "#7570b3", func(p point) float64 { return p.memory }},
		{"one change, µs", "#d95f02", func(p point) float64 { return p.change }},
		{"load, s", "#1b9e77", func(p point) float64 { return p.load }},
		{"compile, s", "#e7298a", func(p point) float64 { return p.compile }},
	} {
		var line []string
		for _, p := range points {
			line = append(line, fmt.Sprintf("%.1f,%.1f", x(float64(p.records)), y(c.of(p))))
			fmt.Fprintf(&s, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"/>`+"\n", x(float64(p.records)), y(c.of(p)), c.colour)
		}
		fmt.Fprintf(&s, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(line, " "), c.colour)
		end := points[len(points)-1]
		fmt.Fprintf(&s, `<text x="%d" y="%.1f" fill="%s">%s</text>`+"\n", width-right+10, y(c.of(end))+4, c.colour, c.name)
	}
	s.WriteString("</svg>\n")
	if err := os.WriteFile(file, []byte(s.String()), 0o644); err != nil {
		tb.Fatal(err)
	}
}
