package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/verify"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

type verifyOptions struct {
	api      connection
	policy   string
	compiled bool
	wanted   bool
	admin    string
	output   string
	most     int
	timeout  time.Duration
}

func verifyCmd() *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Prove that the flows of all hosts do what the policy means",
		Long: `Prove a network: every packet that can come in by any port of any host, of a VM
or a tunnel, is delivered once to the right VM with the right headers if the
policy intends it, and else dropped for the right reason. Nothing is sampled:
packets are judged by classes, which the flows and the policy do not tell apart.
Packets that a flow, whoever made it, leaves to normal switching, floods or hands
to the host's own stack are counterexamples: no policy means that.

Without flags the flows are read back from the switches of the settings, and the
ports from their OVSDB. Nothing is changed, and no controller need run.
With --compiled the flows are those that the policy gives these hosts, with
--wanted those that the running controller wants them to have, which it tells by
its admin socket: these are what came of all changes since its start. With
--policy nothing is asked: the flows are compiled from the file, with every VM
attached where it puts it, as compile does.

The exit code is 0 if all is proved, 1 if there is a counterexample or something
that nobody can judge, 4 if hosts do not answer.`,
		Example:           "  nvgre-ofctl verify --config nvgre.yaml\n  nvgre-ofctl verify --policy new.yaml\n  nvgre-ofctl verify --compiled -o json",
		Args:              exactly(0, "no arguments"),
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f := cmd.Flags()
	o.api.addFlags(cmd, 0)
	f.StringVar(&o.policy, "policy", "", "a policy file to prove by itself, before it is applied; - is standard input")
	f.BoolVar(&o.compiled, "compiled", false, "prove the flows that the hosts should have, not those they have")
	f.BoolVar(&o.wanted, "wanted", false, "prove the flows that the running controller wants the hosts to have")
	f.StringVar(&o.admin, "admin-socket", "", "with --wanted: the controller's admin socket, if not that of the settings")
	f.StringVarP(&o.output, "output", "o", "text", "text or json")
	f.IntVar(&o.most, "max", 10, "how many counterexamples to look for")
	f.DurationVar(&o.timeout, "timeout", time.Minute, "how long the hosts may take to answer")
	completeFlag(cmd, "output", "text", "json")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return runVerify(cmd, &o) }
	return cmd
}

func runVerify(cmd *cobra.Command, o *verifyOptions) error {
	if err := oneOf("output", o.output, "text", "json"); err != nil {
		return err
	}
	if o.most < 1 {
		return usagef("--max is %d: want 1 or more", o.most)
	}
	if o.compiled && o.wanted {
		return usagef("--compiled and --wanted are two things: give one")
	}
	if o.policy != "" && (o.compiled || o.wanted || o.api.config != "" || o.api.named()) {
		return usagef("--policy proves a file by itself: leave out --compiled, --wanted, --config and --api")
	}
	var n verify.Network
	var silent []error
	if o.policy != "" {
		p, err := loadPolicy(cmd, o.policy)
		if err != nil {
			return err
		}
		n = plannedNetwork(p)
	} else {
		var err error
		if n, silent, err = liveNetwork(cmd.Context(), o); err != nil {
			return err
		}
		for _, e := range silent {
			fmt.Fprintf(cmd.ErrOrStderr(), "%v\n", e)
		}
		if len(n.Hosts) == 0 {
			return withCode(codeUnreachable, errors.New("no host can be judged"))
		}
	}
	r, err := verify.Verify(cmd.Context(), n, verify.Options{MaxCounterexamples: o.most, Progress: progress(cmd.ErrOrStderr())})
	if err != nil {
		return err
	}
	namer := flows.NewNamer(n.Policy, nil)
	if o.output == "json" {
		err = printReportJSON(cmd.OutOrStdout(), namer, r)
	} else {
		err = printReport(cmd.OutOrStdout(), namer, r)
	}
	switch {
	case err != nil:
		return err
	case len(r.Counterexamples) == 0 && len(silent) > 0:
		return &exitError{code: codeUnreachable}
	case !r.Proved:
		return &exitError{code: codeFailed}
	}
	return nil
}

// plannedNetwork is a policy on hosts as it wants them.
func plannedNetwork(p *tenant.Policy) verify.Network {
	at := flows.PlannedPlacement(p)
	var views []flows.HostView
	for h := range p.Hosts() {
		views = append(views, flows.PlannedView(p, at, h.Name))
	}
	return verify.Compiled(p, views)
}

// maxAsked is how many hosts are asked at a time.
const maxAsked = 16

// liveNetwork asks the hosts of the policy for their ports and flows. silent says
// which do not answer, and why.
func liveNetwork(ctx context.Context, o *verifyOptions) (n verify.Network, silent []error, err error) {
	d := dumpOptions{config: o.api.config}
	s, err := dumpSettings(&d)
	if err != nil {
		return n, nil, err
	}
	if n.Policy, err = policyInForce(ctx, s, &o.api); err != nil {
		return n, nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, o.timeout, fmt.Errorf("%w in %s", errNoAnswer, o.timeout))
	defer cancel()
	names := hostNames(n.Policy)
	hosts, errs := make([]*verify.Host, len(names)), make([]error, len(names))
	var group errgroup.Group
	group.SetLimit(maxAsked)
	for i, name := range names {
		group.Go(func() error {
			hosts[i], errs[i] = askHost(ctx, s, n.Policy, &d, name, !o.compiled && !o.wanted)
			if o.wanted && errs[i] == nil {
				var has held
				has, errs[i] = wantedFlows(ctx, cmp.Or(o.admin, s.AdminSocket), name)
				hosts[i].Flows, hosts[i].Groups = has.flows, has.groups
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	var views []flows.HostView
	for i, h := range hosts {
		if errs[i] != nil {
			silent = append(silent, errs[i])
			continue
		}
		n.Hosts = append(n.Hosts, *h)
		views = append(views, h.View)
	}
	if o.compiled {
		n = verify.Compiled(n.Policy, views)
	}
	return n, silent, context.Cause(ctx)
}

// progress shows on a terminal how far the proof is; nil where w is none.
func progress(w io.Writer) func(done, total int) {
	f, ok := w.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return nil
	}
	last := -1
	return func(done, total int) {
		if percent := 100 * done / total; percent != last {
			last = percent
			fmt.Fprintf(f, "\r%3d %% of %d parts", percent, total)
			if done == total {
				fmt.Fprint(f, "\r\033[K")
			}
		}
	}
}

func printReport(w io.Writer, n *flows.Namer, r *verify.Report) error {
	for i := range r.Counterexamples {
		c := &r.Counterexamples[i]
		fmt.Fprintf(w, "counterexample %d: a packet from %s\n", i+1, origin(c))
		fmt.Fprintf(w, "  packet    %s\n  expected  %s\n  found     %s\n", c.Frame, c.Expected, c.Got)
		if c.Flow != nil {
			fmt.Fprintf(w, "  at fault  host %s: %s\n            %s\n", c.FlowHost, n.Flow(c.Flow), ownedBy(c.Owner, c.Source))
		} else {
			fmt.Fprintf(w, "  at fault  host %s: no flow takes the packet\n", c.FlowHost)
		}
		if c.Instead != nil {
			fmt.Fprintf(w, "  wanted    %s\n            %s\n", n.Flow(c.Instead), ownedBy(c.InsteadOwner, c.InsteadSource))
		}
		if c.Like > 0 {
			fmt.Fprintf(w, "  and %s of packets like it\n", classes(c.Like))
		}
	}
	for _, u := range r.Unproved {
		fmt.Fprintf(w, "unproved: host %s: %s\n", u.Host, u.Why)
		if u.Flow != nil {
			fmt.Fprintf(w, "  %s\n", n.Flow(u.Flow))
		}
	}
	for _, m := range r.Remarks {
		what := "takes packets before"
		if m.Whole {
			what = "takes all packets before"
		}
		fmt.Fprintf(w, "note: host %s: foreign flow %s %s %s\n", m.Host, n.Flow(&m.By), what, n.Flow(&m.Flow))
	}
	for i := range r.Unmet {
		if u := &r.Unmet[i]; u.Stray {
			fmt.Fprintf(w, "note: host %s: no packet meets %s (%s)\n", u.Host, n.Flow(&u.Flow), u.Owner)
		}
	}
	of := fmt.Sprintf("%s, %s, %s", plural(r.Hosts, "host"), plural(r.VMs, "VM"), classes(r.Classes))
	switch {
	case r.Proved:
		fmt.Fprintf(w, "proved: %s\n", of)
	case len(r.Counterexamples) > 0:
		fmt.Fprintf(w, "not proved: %s in %s\n", plural(len(r.Counterexamples), "counterexample"), of)
	default:
		fmt.Fprintf(w, "not proved, and no counterexample: %s\n", of)
	}
	return nil
}

func classes(n int) string {
	if n == 1 {
		return "1 class"
	}
	return fmt.Sprintf("%d classes", n)
}

func origin(c *verify.Counterexample) string {
	switch {
	case c.Outer.Src.IsValid():
		return fmt.Sprintf("the underlay to host %s, %s", c.Host, c.Outer)
	case c.VM != "":
		return fmt.Sprintf("%s on host %s, port %d (%s)", c.VM, c.Host, c.Port, cmp.Or(c.VMSource.String(), "-"))
	}
	return fmt.Sprintf("port %d of host %s, which is no VM's", c.Port, c.Host)
}

func ownedBy(owner string, at tenant.Position) string {
	if at == (tenant.Position{}) {
		return "of " + owner
	}
	return "of " + owner + ", " + at.String()
}

// jsonReport is a report as -o json writes it.
type jsonReport struct {
	Proved          bool                 `json:"proved"`
	Hosts           int                  `json:"hosts"`
	VMs             int                  `json:"vms"`
	Flows           int                  `json:"flows"`
	Classes         int                  `json:"classes"`
	Counterexamples []jsonCounterexample `json:"counterexamples"`
	Unproved        []jsonUnproved       `json:"unproved"`
	Remarks         []jsonRemark         `json:"remarks"`
	Unmet           []jsonUnmet          `json:"unmet"`
}

type jsonCounterexample struct {
	Host     string    `json:"host"`
	Port     uint32    `json:"port"`
	VM       string    `json:"vm,omitempty"`
	VMSource string    `json:"vm_source,omitempty"` // file:line:column
	Outer    string    `json:"outer,omitempty"`     // of what comes from the underlay
	Packet   string    `json:"packet"`
	Bytes    []byte    `json:"bytes"` // the frame, base64
	Expected string    `json:"expected"`
	Found    string    `json:"found"`
	FlowHost string    `json:"flow_host"`
	AtFault  *jsonFlow `json:"at_fault,omitempty"`
	Wanted   *jsonFlow `json:"wanted,omitempty"`
	Like     int       `json:"like"` // more classes with the same flow at fault
}

type jsonUnproved struct {
	Host string    `json:"host"`
	Why  string    `json:"why"`
	Flow *jsonFlow `json:"flow,omitempty"`
}

type jsonRemark struct {
	Host  string   `json:"host"`
	Flow  jsonFlow `json:"flow"`
	By    jsonFlow `json:"by"`
	Whole bool     `json:"whole"`
}

type jsonUnmet struct {
	Host  string   `json:"host"`
	Flow  jsonFlow `json:"flow"`
	Stray bool     `json:"stray"` // foreign, or of an owner that the policy does not have
}

func printReportJSON(w io.Writer, n *flows.Namer, r *verify.Report) error {
	form := func(f *flow.Flow) *jsonFlow {
		if f == nil {
			return nil
		}
		j := toJSON(n, &shownFlow{Flow: *f})
		return &j
	}
	out := jsonReport{Proved: r.Proved, Hosts: r.Hosts, VMs: r.VMs, Flows: r.Flows, Classes: r.Classes,
		Counterexamples: []jsonCounterexample{}, Unproved: []jsonUnproved{}, Remarks: []jsonRemark{}, Unmet: []jsonUnmet{}}
	for i := range r.Counterexamples {
		c := &r.Counterexamples[i]
		j := jsonCounterexample{Host: c.Host, Port: c.Port, VM: c.VM, Packet: c.Frame.String(), Bytes: c.Frame.Bytes(), Expected: c.Expected,
			Found: c.Got, FlowHost: c.FlowHost, AtFault: form(c.Flow), Wanted: form(c.Instead), Like: c.Like}
		if c.VM != "" {
			j.VMSource = c.VMSource.String()
		}
		if c.Outer.Src.IsValid() {
			j.Outer = c.Outer.String()
		}
		out.Counterexamples = append(out.Counterexamples, j)
	}
	for _, u := range r.Unproved {
		out.Unproved = append(out.Unproved, jsonUnproved{u.Host, u.Why, form(u.Flow)})
	}
	for i := range r.Remarks {
		m := &r.Remarks[i]
		out.Remarks = append(out.Remarks, jsonRemark{m.Host, *form(&m.Flow), *form(&m.By), m.Whole})
	}
	for i := range r.Unmet {
		u := &r.Unmet[i]
		out.Unmet = append(out.Unmet, jsonUnmet{u.Host, *form(&u.Flow), u.Stray})
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(out)
}
