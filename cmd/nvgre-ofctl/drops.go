package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/explain"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

type dropsOptions struct {
	api        connection
	vm, output string
	hosts      []string
	watch      bool
	interval   time.Duration
	rounds     int
	timeout    time.Duration
}

func dropsCmd() *cobra.Command {
	var o dropsOptions
	cmd := &cobra.Command{
		Use:   "drops",
		Short: "Show what the switches drop, by reason and by VM",
		Long: `Show how many packets the drop flows of all hosts have taken, by host, reason and
owner: of what a VM sends against its record the owner is the record; of what
nobody can be blamed for, such as an address that no record has, the pipeline.
Totals count from when a flow was installed.

With --watch only what is dropped from now on is shown, one table for each
--interval, until an interrupt. Drops of flows that are not ours are not counted:
see nvgre-ofctl dump-flows HOST --foreign. "nvgre-ofctl explain REASON" tells what
a reason means.

The exit code is 0 whether packets are dropped or not, 4 where a host does not
answer.`,
		Example:           "  nvgre-ofctl drops --vm blue/web1\n  nvgre-ofctl drops --watch --host h1 --host h2",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	o.api.addFlags(cmd, 0)
	f.StringVar(&o.vm, "vm", "", "only what is dropped of this VM: ROUTING-DOMAIN/VM, an iface-id or a name")
	f.StringArrayVar(&o.hosts, "host", nil, "only this host (repeatable)")
	f.BoolVarP(&o.watch, "watch", "w", false, "what is dropped from now on, again and again")
	f.DurationVar(&o.interval, "interval", 2*time.Second, "with --watch: the time between two looks")
	f.IntVar(&o.rounds, "rounds", 0, "with --watch: end after so many looks")
	f.StringVarP(&o.output, "output", "o", "table", "table or json (with --watch: one object on a line for each look)")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long the hosts may take to answer")
	completeFlag(cmd, "output", "table", "json")
	var none string
	_ = cmd.RegisterFlagCompletionFunc("vm", completeVMs(&o.api.config, &none))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runDrops(cmd, &o) }
	return cmd
}

// dropRow is packets that drop flows of one host took for one reason and owner.
type dropRow struct {
	Host          string   `json:"host"`
	Reason        string   `json:"reason"`
	Why           string   `json:"why"`
	Owner         string   `json:"owner"`
	RoutingDomain string   `json:"routing_domain,omitempty"`
	VM            string   `json:"vm,omitempty"`
	Source        string   `json:"source,omitempty"`
	Packets       uint64   `json:"packets"`
	PerSecond     *float64 `json:"per_second,omitempty"` // with --watch
}

// dropKey is what packets are counted by.
type dropKey struct {
	host   string
	cookie uint64
}

type dropReport struct {
	Time   time.Time `json:"time"`
	Drops  []dropRow `json:"drops"`
	Silent []string  `json:"silent"` // hosts that do not answer, with why
}

func runDrops(cmd *cobra.Command, o *dropsOptions) error {
	if err := oneOf("output", o.output, "table", "json"); err != nil {
		return err
	}
	if o.interval < 100*time.Millisecond {
		return usagef("--interval is %s: want 100ms or more", o.interval)
	}
	ctx := cmd.Context()
	s, err := dumpSettings(&dumpOptions{config: o.api.config})
	if err != nil {
		return err
	}
	p, err := policyInForce(ctx, s, &o.api)
	if err != nil {
		return err
	}
	hosts := hostNames(p)
	for _, h := range o.hosts {
		if !slices.Contains(hosts, h) {
			return usagef("--host: the policy has no host %s: %s", h, wantOne(h, hosts))
		}
	}
	if len(o.hosts) > 0 {
		hosts = o.hosts
	}
	var vm *tenant.LookupRecord
	if o.vm != "" {
		r, err := explain.FindVM(p, o.vm)
		if err != nil {
			return unknownVM(err)
		}
		vm = &r
	}
	c := dropCounter{settings: s, policy: p, namer: flows.NewNamer(p, nil), hosts: hosts, vm: vm, timeout: o.timeout}
	now, silent := c.count(ctx)
	if !o.watch {
		return c.show(cmd, o, now, nil, 0, silent)
	}
	tick := time.NewTicker(o.interval)
	defer tick.Stop()
	last := time.Now()
	for n := 0; o.rounds == 0 || n < o.rounds; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		before := now
		now, silent = c.count(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		took := time.Since(last)
		last = time.Now()
		// What a silent host has counted is compared with what it says next.
		for k, v := range before {
			if _, ok := now[k]; !ok && slices.ContainsFunc(silent, func(e hostError) bool { return e.host == k.host }) {
				now[k] = v
			}
		}
		if err := c.show(cmd, o, now, before, took, silent); err != nil {
			var exit *exitError
			if !errors.As(err, &exit) || o.rounds != 0 && n == o.rounds-1 {
				return err
			}
		}
	}
	return nil
}

// dropCounter reads the counters of drop flows.
type dropCounter struct {
	settings *settings.Settings
	policy   *tenant.Policy
	namer    *flows.Namer
	hosts    []string
	vm       *tenant.LookupRecord
	timeout  time.Duration
}

type hostError struct {
	host string
	err  error
}

// count reads the counters of all hosts. silent are those that do not answer.
func (c *dropCounter) count(ctx context.Context) (map[dropKey]uint64, []hostError) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.timeout, fmt.Errorf("%w in %s", errNoAnswer, c.timeout))
	defer cancel()
	counts, errs := make([]map[dropKey]uint64, len(c.hosts)), make([]error, len(c.hosts))
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i, host := range c.hosts {
		group.Go(func() error {
			counts[i], errs[i] = c.countHost(ctx, host)
			return nil
		})
	}
	_ = group.Wait() // none fails
	all := make(map[dropKey]uint64)
	var silent []hostError
	for i := range c.hosts {
		if errs[i] != nil {
			silent = append(silent, hostError{c.hosts[i], errs[i]})
		}
		for k, v := range counts[i] {
			all[k] += v
		}
	}
	return all, silent
}

func (c *dropCounter) countHost(ctx context.Context, host string) (map[dropKey]uint64, error) {
	counts := make(map[dropKey]uint64)
	err := statsOf(ctx, c.settings, c.policy, host, flows.DropMark, flows.DropMask, func(st *openflow.Stat) {
		if r, _ := flows.Reason(st.Flow.Cookie); st.Unknown == "" && r.Counted() {
			counts[dropKey{host, st.Flow.Cookie}] += st.Packets
		}
	})
	if err != nil {
		return nil, err
	}
	return counts, nil
}

// statsOf reads those flows of a host's switch that have a cookie under a mask.
func statsOf(ctx context.Context, s *settings.Settings, p *tenant.Policy, host string, cookie, mask uint64, yield func(*openflow.Stat)) error {
	ep, conf, err := dumpAddress(s, p, &dumpOptions{}, host)
	if err != nil {
		return err
	}
	session, err := controller.Dial(ctx, ep, conf, slog.New(slog.DiscardHandler))
	if err != nil {
		return explainSwitch(host, ep, explainContext(ctx, err))
	}
	defer session.Close()
	err = session.ReadFlows(ctx, cookie, mask, func(st *openflow.Stat) error { yield(st); return nil })
	if err != nil {
		return explainSwitch(host, ep, explainContext(ctx, err))
	}
	return nil
}

// rows makes rows of what has been dropped since before, most first.
func (c *dropCounter) rows(now, before map[dropKey]uint64, took time.Duration) []dropRow {
	rows := []dropRow{}
	for k, n := range now {
		if old := before[k]; old <= n { // else the flow is a new one
			n -= old
		}
		if n == 0 {
			continue
		}
		reason, _ := flows.Reason(k.cookie)
		r := dropRow{Host: k.host, Reason: reason.String(), Why: reason.Text(), Owner: c.namer.OwnerText(k.cookie), Packets: n}
		if owners := c.namer.Owners(k.cookie); len(owners) == 1 {
			o := owners[0]
			r.RoutingDomain, r.VM, r.Source = o.RoutingDomain, o.VM, explain.Place(c.policy, o)
		}
		if c.vm != nil {
			if d, _ := c.policy.RoutingDomain(c.vm.RDID); r.VM != c.vm.VM || r.RoutingDomain != d.Name {
				continue
			}
		}
		if took > 0 {
			rate := float64(n) / took.Seconds()
			r.PerSecond = &rate
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b dropRow) int {
		return cmp.Or(cmp.Compare(b.Packets, a.Packets), cmp.Compare(a.Host, b.Host), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Owner, b.Owner))
	})
	return rows
}

// show writes one look.
func (c *dropCounter) show(cmd *cobra.Command, o *dropsOptions, now, before map[dropKey]uint64, took time.Duration, silent []hostError) error {
	r := dropReport{Time: time.Now().UTC(), Drops: c.rows(now, before, took), Silent: []string{}}
	for _, e := range silent {
		r.Silent = append(r.Silent, e.err.Error())
	}
	w := cmd.OutOrStdout()
	var err error
	switch {
	case o.output == "json" && o.watch:
		err = json.NewEncoder(w).Encode(&r)
	case o.output == "json":
		err = printJSON(w, &r)
	default:
		err = printDrops(w, &r, took)
		for _, e := range silent {
			fmt.Fprintf(cmd.ErrOrStderr(), "%v\n", e.err)
		}
	}
	if err == nil && len(silent) > 0 {
		err = &exitError{code: codeUnreachable}
	}
	return err
}

func printDrops(w io.Writer, r *dropReport, took time.Duration) error {
	what := "ever since their flows were installed"
	if took > 0 {
		what = fmt.Sprintf("%s, in %s", r.Time.Local().Format(time.TimeOnly), took.Round(100*time.Millisecond))
	}
	if len(r.Drops) == 0 {
		_, err := fmt.Fprintf(w, "nothing dropped (%s)\n", what)
		return err
	}
	if _, err := fmt.Fprintf(w, "dropped (%s):\n", what); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	head := []string{"PACKETS", "HOST", "REASON", "OF", "POLICY"}
	if took > 0 {
		head = slices.Insert(head, 1, "PER SECOND")
	}
	fmt.Fprintln(t, strings.Join(head, "\t"))
	for i := range r.Drops {
		d := &r.Drops[i]
		fmt.Fprintf(t, "%d\t", d.Packets)
		if d.PerSecond != nil {
			fmt.Fprintf(t, "%.1f\t", *d.PerSecond)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", d.Host, d.Reason, d.Owner, cmp.Or(d.Source, "-"))
	}
	return t.Flush()
}
