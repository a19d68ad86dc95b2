package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/openflow"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/flows/flow"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

type dumpOptions struct {
	config, policy, openflow string
	output                   string
	domain, vm, table        string
	drops, foreign           bool
	timeout                  time.Duration
}

func dumpFlowsCmd() *cobra.Command {
	var o dumpOptions
	cmd := &cobra.Command{
		Use:   "dump-flows HOST",
		Short: "Show a switch's flows in the tenant's words, with owners and counters",
		Long: `Read the flows of a host's switch and show them by the pipeline's names, each
with its owner and its counters. The command asks the switch itself: it works
with the controller dead, changes nothing and disturbs no controller. Ports have
the names of their Interfaces where the host's OVSDB answers, else numbers.

The host's address comes from the settings (--config) or the policy; --openflow
gives it without either. Where the policy cannot be read, owners have no names.`,
		Example:           "  nvgre-ofctl dump-flows h1 --config nvgre.yaml --vm web1\n  nvgre-ofctl dump-flows h1 --drops\n  nvgre-ofctl dump-flows h1 --openflow unix:/run/openvswitch/br-int.mgmt",
		Args:              exactly(1, "the name of one host"),
		ValidArgsFunction: completeHosts(&o),
	}
	f := cmd.Flags()
	f.StringVar(&o.config, "config", "", "the controller's settings file (default $"+settings.ConfigEnv+", else "+settings.DefaultFile+" where it exists)")
	f.StringVar(&o.policy, "policy", "", "the policy file, if not that of the settings")
	f.StringVar(&o.openflow, "openflow", "", "the switch's address: unix:PATH, tcp:IP:PORT or ssl:IP:PORT")
	f.StringVarP(&o.output, "output", "o", "named", "named, ovs (what ovs-ofctl accepts) or json")
	f.StringVar(&o.domain, "routing-domain", "", "only flows of this routing domain: its name, RDID or customer")
	f.StringVar(&o.domain, "tenant", "", "the same as --routing-domain")
	f.StringVar(&o.vm, "vm", "", "only flows of this VM")
	f.StringVar(&o.table, "table", "", "only flows of this table: its name or number")
	f.BoolVar(&o.drops, "drops", false, "only flows that drop packets")
	f.BoolVar(&o.foreign, "foreign", false, "only flows that are not ours")
	f.DurationVar(&o.timeout, "timeout", 30*time.Second, "how long the switch may take")
	completeFlag(cmd, "output", "named", "ovs", "json")
	var tables []string
	for _, t := range flows.Pipeline() {
		tables = append(tables, t.Name)
	}
	completeFlag(cmd, "table", tables...)
	_ = cmd.RegisterFlagCompletionFunc("vm", completePolicy(&o, func(p *tenant.Policy) (out []string) {
		for r := range p.Records() {
			out = append(out, r.VM)
		}
		slices.Sort(out)
		return slices.Compact(out)
	}))
	domains := completePolicy(&o, func(p *tenant.Policy) (out []string) {
		for d := range p.RoutingDomains() {
			out = append(out, d.Name)
		}
		return out
	})
	_ = cmd.RegisterFlagCompletionFunc("routing-domain", domains)
	_ = cmd.RegisterFlagCompletionFunc("tenant", domains)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return dumpFlows(cmd, &o, args[0]) }
	return cmd
}

func dumpFlows(cmd *cobra.Command, o *dumpOptions, host string) error {
	if err := oneOf("output", o.output, "named", "ovs", "json"); err != nil {
		return err
	}
	s, err := dumpSettings(o)
	if err != nil {
		return err
	}
	var p *tenant.Policy
	if tellsPolicy(s, nil) {
		if p, err = policyInForce(cmd.Context(), s, nil); err != nil {
			if o.domain != "" || o.vm != "" {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "owners are shown without names, the policy cannot be read:\n%v\n", err)
		}
	}
	ep, conf, err := dumpAddress(s, p, o, host)
	if err != nil {
		return err
	}
	db := dumpDatabase(s, p, o, host)
	keep, err := dumpFilter(p, o)
	if err != nil {
		return err
	}

	ctx, cancel := context.WithTimeoutCause(cmd.Context(), o.timeout, fmt.Errorf("%w in %s", errNoAnswer, o.timeout))
	defer cancel()
	names := make(chan map[uint32]string, 1)
	go func() { names <- portNames(ctx, s, db, conf) }()
	found, err := readFlows(ctx, ep, conf, keep)
	ports := <-names
	if err != nil {
		if cmd.Context().Err() != nil {
			return cmd.Context().Err()
		}
		return withCode(codeUnreachable, explainSwitch(host, ep, err))
	}
	return printFlows(cmd.OutOrStdout(), o.output, flows.NewNamer(p, ports), found)
}

// namesTimeout is how long OVSDB may take to name the ports: names are a
// comfort, and whoever asks at all may do so because OVSDB is dead.
const namesTimeout = 2 * time.Second

// portNames returns the names of a host's ports by number, none where its OVSDB
// does not answer.
func portNames(ctx context.Context, s *settings.Settings, db ovsaddr.Endpoint, conf *tls.Config) map[uint32]string {
	if db.IsZero() || db.NeedsTLS() && conf == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, namesTimeout)
	defer cancel()
	names, _ := controller.PortNames(ctx, db, conf, s.Bridge, s.TunnelPort) // without them there are numbers
	return names
}

// explainSwitch says which host does not answer and what to look at.
func explainSwitch(host string, ep ovsaddr.Endpoint, err error) error {
	at := " at " + ep.String()
	if strings.Contains(err.Error(), ep.String()) {
		at = ""
	}
	hint := "is ovs-vswitchd running, and has the bridge that address?"
	switch {
	case errors.Is(err, openflow.ErrPeerSilent), errors.Is(err, errNoAnswer):
		hint = "ovs-vswitchd answers nobody while it has no ovsdb-server: is that running on the host?"
	case errors.Is(err, fs.ErrPermission):
		hint = "only root and the user of Open vSwitch may open it: use sudo"
	}
	return fmt.Errorf("host %s%s: %w: %s", host, at, err, hint)
}

// errNoAnswer is the cause of the end of a command's patience.
var errNoAnswer = errors.New("no answer")

// dumpSettings reads what the settings say of hosts and policy. Without a file
// there are defaults.
func dumpSettings(o *dumpOptions) (*settings.Settings, error) {
	s, err := settings.Load(settings.FindFile(o.config), nil)
	if err != nil {
		return nil, withCode(codeInput, err)
	}
	s.Policy = cmp.Or(o.policy, s.Policy)
	return s, nil
}

// dumpAddress finds the host's switch.
func dumpAddress(s *settings.Settings, p *tenant.Policy, o *dumpOptions, host string) (ovsaddr.Endpoint, *tls.Config, error) {
	addr := o.openflow
	h, inSettings := s.Host(host)
	if addr == "" {
		addr = h.OpenFlow
	}
	inPolicy := false
	if p != nil {
		var ph tenant.Host
		if ph, inPolicy = p.Host(host); addr == "" {
			addr = ph.OpenFlow
		}
	}
	if addr == "" {
		switch {
		case inSettings || inPolicy:
			return ovsaddr.Endpoint{}, nil, withCode(codeInput, fmt.Errorf("host %s has no OpenFlow address in the settings or the policy: add it, or give --openflow", host))
		case s.File == "" && s.Policy == "":
			return ovsaddr.Endpoint{}, nil, usagef("nothing tells where host %s is: give --config, --policy or --openflow", host)
		}
		return ovsaddr.Endpoint{}, nil, usagef("no host %s in the settings or the policy: %s", host, wantOne(host, knownHosts(s, p)))
	}
	ep, err := ovsaddr.Parse(addr)
	if err != nil {
		return ep, nil, usagef("host %s: %w", host, err)
	}
	if s.TLS.IsZero() {
		if !ep.NeedsTLS() {
			return ep, nil, nil
		}
		return ep, nil, withCode(codeInput, fmt.Errorf("host %s is reached by ssl, and the settings have no tls: add ca, certificate and private-key", host))
	}
	conf, err := ovsaddr.LoadTLS(s.TLS.CA, s.TLS.Certificate, s.TLS.PrivateKey)
	if err != nil && !ep.NeedsTLS() {
		return ep, nil, nil
	}
	return ep, conf, withCode(codeInput, err)
}

// dumpDatabase finds the OVSDB of the host whose switch is asked; the zero
// Endpoint where nothing tells.
func dumpDatabase(s *settings.Settings, p *tenant.Policy, o *dumpOptions, host string) ovsaddr.Endpoint {
	if o.openflow != "" {
		return ovsaddr.Endpoint{} // who knows whose switch that is
	}
	h, _ := s.Host(host)
	addr := h.OVSDB
	if p != nil && addr == "" {
		ph, _ := p.Host(host)
		addr = ph.OVSDB
	}
	ep, _ := ovsaddr.Parse(addr) // the zero Endpoint where it is none
	return ep
}

func knownHosts(s *settings.Settings, p *tenant.Policy) []string {
	var names []string
	for _, h := range s.Hosts {
		names = append(names, h.Name)
	}
	if p != nil {
		names = append(names, hostNames(p)...)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// dumpFilter returns what decides whether a flow is shown.
func dumpFilter(p *tenant.Policy, o *dumpOptions) (func(*shownFlow) bool, error) {
	table := -1
	if o.table != "" {
		id, ok := flows.TableByName(o.table)
		if !ok {
			n, err := strconv.ParseUint(o.table, 10, 8)
			if err != nil {
				return nil, usagef("--table is %q: want a number from 0 to 254 or the name of a table, such as classify", o.table)
			}
			id = uint8(n)
		}
		table = int(id)
	}
	if (o.domain != "" || o.vm != "") && p == nil {
		return nil, usagef("--routing-domain and --vm need the policy: give --policy or --config")
	}
	var domains map[string]bool
	if o.domain != "" {
		var err error
		if domains, err = domainsNamed(p, o.domain); err != nil {
			return nil, err
		}
	}
	if o.vm != "" {
		var vms []string
		for r := range p.Records() {
			vms = append(vms, r.VM)
		}
		if !slices.Contains(vms, o.vm) {
			slices.Sort(vms)
			return nil, usagef("--vm %s: no lookup record of the policy has a VM of that name: %s", o.vm, wantOne(o.vm, slices.Compact(vms)))
		}
	}
	namer := flows.NewNamer(p, nil)
	return func(f *shownFlow) bool {
		if table >= 0 && int(f.Table) != table || o.foreign && flows.Ours(f.Cookie) {
			return false
		}
		if o.drops {
			if _, ok := flows.Reason(f.Cookie); !ok && (flows.Ours(f.Cookie) || len(f.Actions) > 0 || f.unknown != "") {
				return false
			}
		}
		if domains == nil && o.vm == "" {
			return true
		}
		return slices.ContainsFunc(namer.Owners(f.Cookie), func(own flows.Owner) bool {
			return (domains == nil || domains[own.RoutingDomain]) && (o.vm == "" || own.VM == o.vm)
		})
	}, nil
}

// domainsNamed returns the names of the routing domains that somebody means.
func domainsNamed(p *tenant.Policy, text string) (map[string]bool, error) {
	found := map[string]bool{}
	id, idErr := tenant.ParseRDID(text)
	var names []string
	for d := range p.RoutingDomains() {
		names = append(names, d.Name)
		if d.Name == text || d.Customer == text || idErr == nil && d.RDID == id {
			found[d.Name] = true
		}
	}
	if len(found) == 0 {
		return nil, usagef("--routing-domain %s: the policy has no such name, RDID or customer: %s", text, wantOne(text, names))
	}
	return found, nil
}

func readFlows(ctx context.Context, ep ovsaddr.Endpoint, conf *tls.Config, keep func(*shownFlow) bool) ([]shownFlow, error) {
	s, err := controller.Dial(ctx, ep, conf, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, explainContext(ctx, err)
	}
	defer s.Close()
	var fs []shownFlow
	err = s.ReadFlows(ctx, 0, 0, func(st *openflow.Stat) error {
		f := shownFlow{Flow: st.Flow, live: true, packets: st.Packets, bytes: st.Bytes, duration: st.Duration, unknown: st.Unknown}
		if keep(&f) {
			fs = append(fs, f)
		}
		return nil
	})
	if err != nil {
		return nil, explainContext(ctx, err)
	}
	slices.SortStableFunc(fs, func(a, b shownFlow) int { return flow.Compare(&a.Flow, &b.Flow) })
	return fs, nil
}

func explainContext(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, context.DeadlineExceeded) {
		return context.Cause(ctx)
	}
	return err
}

// completeHosts completes the names of hosts.
func completeHosts(o *dumpOptions) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
		s, err := dumpSettings(o)
		if err != nil || len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		p, _ := policyfile.Load(s.Policy, 0) // without it there are the settings' hosts
		return knownHosts(s, p), cobra.ShellCompDirectiveNoFileComp
	}
}

// completePolicy completes something that the policy lists.
func completePolicy(o *dumpOptions, list func(*tenant.Policy) []string) cobra.CompletionFunc {
	return func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		s, err := dumpSettings(o)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		p, err := policyfile.Load(s.Policy, 0)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return list(p), cobra.ShellCompDirectiveNoFileComp
	}
}
