package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows/impact"
)

// jsonImpact is what diff --forwarding -o json writes.
type jsonImpact struct {
	From         uint64             `json:"from_revision"`
	Planned      bool               `json:"planned"` // VMs are where the policy wants them, not where they are attached
	VMs          impact.Counts      `json:"vm_pairs"`
	Others       impact.Counts      `json:"other_pairs"`
	Subnets      []impact.Row       `json:"subnets"`
	Hosts        []impact.Row       `json:"hosts"`
	Destinations []impact.Row       `json:"destinations"`
	Pairs        []jsonPair         `json:"pairs"` // at most --max of each: lost, gained, changed
	Flows        []impact.HostFlows `json:"flows"`
}

type jsonPair struct {
	Change string `json:"change"`
	impact.Pair
}

// print prints what a step does. The error has code 1 where it does something.
func (f *forwarding) print(cmd *cobra.Command, s *impactStep, output string) error {
	w := cmd.OutOrStdout()
	var err error
	if output == "json" {
		r := s.report
		j := jsonImpact{From: s.before.Revision(), Planned: s.planned, VMs: r.VMs, Others: r.Others, Subnets: orEmpty(r.Subnets),
			Hosts: orEmpty(r.Hosts), Destinations: orEmpty(r.Destinations), Pairs: []jsonPair{}, Flows: orEmpty(r.Flows)}
		for _, p := range r.Listed {
			j.Pairs = append(j.Pairs, jsonPair{changeText(p.Change), p})
		}
		err = printJSON(w, j)
	} else {
		err = f.text(w, s)
	}
	if err == nil && !s.report.Empty() {
		err = &exitError{code: codeFailed}
	}
	return err
}

func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (f *forwarding) text(w io.Writer, s *impactStep) error {
	r := s.report
	if r.Empty() {
		_, err := fmt.Fprintf(w, "no pair %s and no flow changes\n", whereText(s))
		return err
	}
	fmt.Fprintf(w, "pairs %s: %s\n", whereText(s), countsText(r.VMs))
	if !r.Others.IsZero() {
		fmt.Fprintf(w, "to gateways and customer routes: %s\n", countsText(r.Others))
	}
	f.rows(w, "BY SUBNET", r.Subnets)
	f.rows(w, "BY HOST", r.Hosts)
	f.rows(w, "BY DESTINATION", r.Destinations)
	printPairs(w, r.Listed)
	listed, all := len(r.Listed), 0
	for _, c := range []impact.Counts{r.VMs, r.Others} {
		all += c.Lost + c.Gained + c.Changed
	}
	if listed < all {
		fmt.Fprintf(w, "... and %s not listed, see --max\n", plural(all-listed, "more pair"))
	}
	return f.flows(w, r.Flows)
}

func countsText(c impact.Counts) string {
	s := fmt.Sprintf("%d lost, %d gained, %d changed", c.Lost, c.Gained, c.Changed)
	if c.Changed > 0 {
		s += fmt.Sprintf(" (path %d, MAC %d, TTL %d, VSID %d)", c.Path, c.MAC, c.TTL, c.VSID)
	}
	return s
}

func (f *forwarding) rows(w io.Writer, title string, rows []impact.Row) {
	if len(rows) == 0 || f.most == 0 {
		return
	}
	// What is left out is what loses least.
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b impact.Row) int {
		return cmp.Or(cmp.Compare(b.Lost, a.Lost), cmp.Compare(b.Gained, a.Gained), cmp.Compare(b.Changed, a.Changed))
	})
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintf(t, "\n%s\tTO\tLOST\tGAINED\tCHANGED\tPATH\tMAC\tTTL\tVSID\n", title)
	for _, r := range rows[:min(len(rows), f.most)] {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\n", r.From, r.To, r.Lost, r.Gained, r.Changed, r.Path, r.MAC, r.TTL, r.VSID)
	}
	t.Flush()
	if n := len(rows) - f.most; n > 0 {
		fmt.Fprintf(w, "... and %s, see --max\n", plural(n, "more line"))
	}
}

func printPairs(w io.Writer, pairs []impact.Pair) {
	if len(pairs) > 0 {
		fmt.Fprintln(w)
	}
	for _, p := range pairs {
		fmt.Fprintf(w, "%s: %s %s (%s) -> %s (%s)\n  before  %s\n  after   %s\n", changeText(p.Change), p.Domain, p.From, p.FromCA, p.To, p.ToCA, p.Before, p.After)
	}
}

// printLost prints the lost pairs that nothing allows.
func printLost(w io.Writer, r *impact.Report) {
	var lost []impact.Pair
	for _, p := range r.Listed {
		if p.Change == impact.Lost && !p.Allowed {
			lost = append(lost, p)
		}
	}
	printPairs(w, lost)
	if n := r.Breaches - len(lost); n > 0 {
		fmt.Fprintf(w, "... and %s\n", plural(n, "more pair"))
	}
}

func (f *forwarding) flows(w io.Writer, hosts []impact.HostFlows) error {
	var sum impact.HostFlows
	for _, h := range hosts {
		sum.Added += h.Added
		sum.Changed += h.Changed
		sum.Deleted += h.Deleted
	}
	_, err := fmt.Fprintf(w, "\nflows on %s: %d added, %d changed, %d deleted\n", plural(len(hosts), "host"), sum.Added, sum.Changed, sum.Deleted)
	for _, h := range hosts[:min(len(hosts), f.most)] {
		fmt.Fprintf(w, "  %s: %d added, %d changed, %d deleted\n", h.Host, h.Added, h.Changed, h.Deleted)
	}
	if n := len(hosts) - f.most; n > 0 && f.most > 0 {
		fmt.Fprintf(w, "  ... and %s, see --max\n", plural(n, "more host"))
	}
	return err
}
