package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/impact"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// forwarding is the flags of diff --forwarding.
type forwarding struct {
	show, planned bool
	most          int
}

func (f *forwarding) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&f.show, "forwarding", false, "show what becomes of packets and flows, not of objects")
	cmd.Flags().BoolVar(&f.planned, "planned", false, "with --forwarding: VMs are where the policy wants them, not where they are attached")
	cmd.Flags().IntVar(&f.most, "max", 20, "with --forwarding: how many lines of each sort are listed")
}

func (f *forwarding) check() error {
	if f.planned && !f.show {
		return usagef("--planned is for --forwarding")
	}
	if f.most < 0 {
		return usagef("--max is %d: want 0 or more", f.most)
	}
	return nil
}

// impactStep is a change of the policy with what it does.
type impactStep struct {
	before, after *tenant.Policy
	planned       bool // VMs are where the policy wants them
	report        *impact.Report
}

// judge works out what a step does. allow may be nil.
func (f *forwarding) judge(ctx context.Context, cl *client.Client, s *impactStep, allow func(*tenant.LookupRecord) bool) error {
	var b, a impact.State
	if !s.planned {
		views, err := attachedViews(ctx, cl, s.before)
		if err != nil {
			return err
		}
		if s.planned = views == nil; !s.planned {
			b, a = impact.AttachedStep(s.before, s.after, views)
		}
	}
	if s.planned {
		b, a = impact.PlannedStep(s.before, s.after)
	}
	s.report = impact.Between(b, a, impact.Options{Max: f.most, AllowLoss: allow})
	return nil
}

// attachedViews returns the hosts with the VMs that are attached now, each with a
// tunnel port for all keys; nil where no VM is.
func attachedViews(ctx context.Context, cl *client.Client, p *tenant.Policy) ([]flows.HostView, error) {
	all, err := cl.Attachments(ctx, nil)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	at := make(map[string][]flows.Attachment)
	for _, a := range all {
		at[a.Host] = append(at[a.Host], flows.Attachment{IfaceID: a.IfaceID, OFPort: a.OFPort})
	}
	var views []flows.HostView
	add := func(name string) {
		views = append(views, flows.HostView{Name: name, Tunnels: flows.TunnelPorts{Flow: 1}, Attachments: at[name]})
	}
	for h := range p.Hosts() {
		add(h.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(at)) {
		if _, ok := p.Host(name); !ok {
			add(name)
		}
	}
	return views, nil
}

// policyAt reads the policy of a revision; 0 is the one in force. Where there is
// none yet it is empty, of revision 0.
func policyAt(ctx context.Context, cl *client.Client, revision uint64) (*tenant.Policy, error) {
	if revision == 0 {
		heads, err := cl.Revisions(ctx, 1)
		if err != nil {
			return nil, err
		}
		if len(heads) == 0 || heads[0].Revision == 0 {
			return tenant.Empty(), nil
		}
		revision = heads[0].Revision
	}
	number := strconv.FormatUint(revision, 10)
	data, err := cl.Policy(ctx, url.Values{"revision": {number}})
	if err != nil {
		return nil, err
	}
	return policyfile.Parse("revision "+number, data, revision)
}

// revisions judges the step from one revision to another.
func (f *forwarding) revisions(ctx context.Context, cl *client.Client, from, to uint64) (*impactStep, error) {
	s := &impactStep{planned: true}
	var err error
	if s.before, err = policyAt(ctx, cl, from); err != nil {
		return nil, err
	}
	if s.after, err = policyAt(ctx, cl, to); err != nil {
		return nil, err
	}
	return s, f.judge(ctx, cl, s, nil)
}

// errUnsound says that changes give no sound policy. What is wrong with them the
// controller says.
var errUnsound = errors.New("the changes give no sound policy")

// next returns the policy in force with the one that changes make of it.
func next(ctx context.Context, cl *client.Client, changes []tenant.Change, replace bool) (before, after *tenant.Policy, err error) {
	if before, err = policyAt(ctx, cl, 0); err != nil {
		return nil, nil, err
	}
	base := before
	if replace {
		base = tenant.Empty()
	}
	after, problems := base.Apply(changes, before.Revision()+1)
	if len(problems) > 0 {
		return nil, nil, fmt.Errorf("%w: %s", errUnsound, problems[0])
	}
	return before, after, nil
}

// step judges what an apply of changes would do.
func (f *forwarding) step(ctx context.Context, cl *client.Client, changes []tenant.Change, replace bool) (*impactStep, error) {
	s := &impactStep{planned: f.planned}
	var err error
	if s.before, s.after, err = next(ctx, cl, changes, replace); err != nil {
		return nil, err
	}
	return s, f.judge(ctx, cl, s, nil)
}

// lossGuard is the flags of --require-no-loss, of all commands that change the
// policy.
type lossGuard struct {
	on    bool
	allow []string
}

func (g *lossGuard) addFlags(cmd *cobra.Command) {
	cmd.Flags().BoolVar(&g.on, "require-no-loss", false, "store nothing if VMs that reach one another now would no longer do so")
	cmd.Flags().StringSliceVar(&g.allow, "allow-loss", nil, "with --require-no-loss: VMs that may lose what they reach, and may be lost: names, ROUTING-DOMAIN/NAME or iface-ids")
}

func (g *lossGuard) check() error {
	if len(g.allow) > 0 && !g.on {
		return usagef("--allow-loss is for --require-no-loss")
	}
	return nil
}

// allowed returns what says whether a record is of a VM that --allow-loss names.
func (g *lossGuard) allowed(before, after *tenant.Policy) (func(*tenant.LookupRecord) bool, error) {
	named := make(map[string]bool)
	for _, a := range g.allow {
		named[a] = false
	}
	of := func(r *tenant.LookupRecord, p *tenant.Policy) []string {
		d, _ := p.RoutingDomain(r.RDID)
		return []string{r.VM, r.IfaceID, d.Name + "/" + r.VM}
	}
	ifaces := make(map[string]bool)
	for _, p := range []*tenant.Policy{before, after} {
		for r := range p.Records() {
			for _, name := range of(&r, p) {
				if _, ok := named[name]; ok {
					named[name], ifaces[r.IfaceID] = true, true
				}
			}
		}
	}
	for _, a := range g.allow {
		if !named[a] {
			return nil, usagef("--allow-loss: no VM is named %q, neither in the policy in force nor after the change", a)
		}
	}
	return func(r *tenant.LookupRecord) bool { return ifaces[r.IfaceID] }, nil
}

// run applies changes unless they break something.
func (g *lossGuard) run(cmd *cobra.Command, c *change, changes []tenant.Change, from sources, o client.ApplyOptions) error {
	return c.with(cmd, func(ctx context.Context, cl *client.Client) error {
		before, after, err := next(ctx, cl, changes, o.Replace)
		if errors.Is(err, errUnsound) { // the controller says more of it
			_, err := cl.Apply(ctx, changes, o)
			return from.locate(err)
		}
		if err == nil {
			err = g.judge(ctx, cmd, cl, before, after, &o)
		}
		if err != nil {
			return err
		}
		a, err := cl.Apply(ctx, changes, o)
		if err != nil {
			return c.overtaken(err, from)
		}
		return c.print(cmd, a)
	})
}

// rollback returns to a revision, or to a time, unless that breaks something.
func (g *lossGuard) rollback(cmd *cobra.Command, c *change, to uint64, when time.Time, o client.ApplyOptions) error {
	return c.with(cmd, func(ctx context.Context, cl *client.Client) error {
		before, err := policyAt(ctx, cl, 0)
		if err != nil {
			return err
		}
		q := url.Values{}
		if to != 0 {
			q.Set("revision", strconv.FormatUint(to, 10))
		} else {
			q.Set("at", when.UTC().Format(time.RFC3339Nano))
		}
		data, err := cl.Policy(ctx, q)
		if err != nil {
			return err
		}
		after, err := policyfile.Parse("the policy to return to", data, before.Revision()+1)
		if err != nil {
			return err
		}
		if err := g.judge(ctx, cmd, cl, before, after, &o); err != nil {
			return err
		}
		a, err := cl.Rollback(ctx, to, when, o)
		if err != nil {
			return c.overtaken(err, nil)
		}
		return c.print(cmd, a)
	})
}

// judge refuses a change that breaks something, and otherwise makes sure that
// what it judged is what is stored.
func (g *lossGuard) judge(ctx context.Context, cmd *cobra.Command, cl *client.Client, before, after *tenant.Policy, o *client.ApplyOptions) error {
	if o.IfRevision != 0 && o.IfRevision != before.Revision() {
		return nil // the controller refuses it, and says why
	}
	allow, err := g.allowed(before, after)
	if err != nil {
		return err
	}
	f := forwarding{most: mostLines}
	s := &impactStep{before: before, after: after}
	if err := f.judge(ctx, cl, s, allow); err != nil {
		return err
	}
	if n := s.report.Breaches; n > 0 {
		printLost(cmd.ErrOrStderr(), s.report)
		return withCode(codeFailed, fmt.Errorf("refused: the change breaks %s %s; nothing was stored. Name the VMs that may lose it with --allow-loss", plural(n, "pair"), whereText(s)))
	}
	o.IfRevision = before.Revision()
	return nil
}

// overtaken says of a conflict that somebody else was faster, where the user has
// not asked for a revision.
func (c *change) overtaken(err error, from sources) error {
	var p *api.Problem
	if errors.As(err, &p) && p.Type == api.TypeConflict && c.ifRevision == 0 {
		return fmt.Errorf("the policy has changed since the change was judged: %w", err)
	}
	return from.locate(err)
}

func whereText(s *impactStep) string {
	if s.planned {
		return "of VMs where the policy wants them"
	}
	return "of VMs where they are attached now"
}

// changeText says what became of a pair.
func changeText(c impact.Change) string {
	var words []string
	for _, w := range [...]struct {
		bit  impact.Change
		word string
	}{{impact.Lost, "lost"}, {impact.Gained, "gained"}, {impact.Path, "path"}, {impact.MAC, "MAC"}, {impact.TTL, "TTL"}, {impact.VSID, "VSID"}} {
		if c&w.bit != 0 {
			words = append(words, w.word)
		}
	}
	return strings.Join(words, ", ")
}
