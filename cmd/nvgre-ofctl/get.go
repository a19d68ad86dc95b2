package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"go.yaml.in/yaml/v3"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/admin"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// getFlags are the flags of get.
type getFlags struct {
	connection
	moment
	output                               string
	domain, vsid, host, vm, ca, customer string
	limit                                int
}

// resource is something that get gets.
type resource struct {
	name    string // as the API has it
	aliases []string
	filters []string // flags that it takes
	get     func(ctx context.Context, cl *client.Client, g *getFlags, name string, w io.Writer) error
}

func resources() []resource {
	return []resource{
		{"records", []string{"record"}, []string{"routing-domain", "vsid", "host", "vm", "ca", "revision", "at"}, getObjects("records")},
		{"subnets", []string{"subnet"}, []string{"routing-domain", "revision", "at"}, getObjects("subnets")},
		{"routing-domains", []string{"routing-domain", "rd"}, []string{"customer", "revision", "at"}, getObjects("routing-domains")},
		{"routes", []string{"route"}, []string{"routing-domain", "revision", "at"}, getObjects("routes")},
		{"hosts", []string{"host"}, []string{"revision", "at"}, getObjects("hosts")},
		{"policy", nil, []string{"revision", "at"}, getPolicy},
		{"attachments", []string{"attachment"}, []string{"routing-domain", "vsid", "host", "vm", "ca"}, getAttachments},
		{"status", nil, nil, getStatus},
		{"revisions", []string{"revision"}, []string{"limit"}, getRevisions},
	}
}

func getCmd() *cobra.Command {
	var g getFlags
	cmd := &cobra.Command{
		Use:   "get KIND [NAME]",
		Short: "Show objects of the policy, attachments, status or revisions",
		Long: `Show what the controller has. KIND is one of

  records          by VSID/CA or the VM's name
  subnets          by VSID
  routing-domains  by name or RDID
  routes           by RDID/PREFIX/LENGTH/METRIC/NEXTHOP
  hosts            by name
  policy           the whole policy, as a policy file
  attachments      by VM or iface-id: bound, and installed everywhere?
  status           of all, or of one host by name
  revisions        of the policy, the newest first

Policy can be shown as it was: --revision, --at.`,
		Example: "  nvgre-ofctl get records --routing-domain blue --ca 10.0.1.0/24\n  nvgre-ofctl get records web1 -o yaml\n" +
			"  nvgre-ofctl get records --host h3 --at -90m\n  nvgre-ofctl get policy > backup.yaml",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usagef("get wants a kind (%s) and perhaps a name; see nvgre-ofctl get --help", strings.Join(kindNames(), ", "))
			}
			return nil
		},
	}
	cmd.ValidArgsFunction = completeGet(&g.connection)
	g.connection.addFlags(cmd, time.Minute)
	g.moment.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&g.output, "output", "o", "table", "table, wide, json, yaml or name")
	f.StringVar(&g.domain, "routing-domain", "", "only what is in the routing domain of this name or RDID")
	f.StringVar(&g.vsid, "vsid", "", "only what is in this virtual subnet")
	f.StringVar(&g.host, "host", "", "only what is on this host")
	f.StringVar(&g.vm, "vm", "", "only what is the VM's of this name")
	f.StringVar(&g.ca, "ca", "", "only this customer address, or those in a prefix")
	f.StringVar(&g.customer, "customer", "", "only routing domains of this customer")
	f.IntVar(&g.limit, "limit", 100, "how many revisions")
	completeFlag(cmd, "output", "table", "wide", "json", "yaml", "name")
	completeNames(cmd, &g.connection, "routing-domain", "routing-domains")
	completeNames(cmd, &g.connection, "host", "hosts")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := oneOf("output", g.output, "table", "wide", "json", "yaml", "name"); err != nil {
			return err
		}
		i := slices.IndexFunc(resources(), func(r resource) bool { return r.name == args[0] || slices.Contains(r.aliases, args[0]) })
		if i < 0 {
			return usagef("%q is nothing to get: %s", args[0], wantOne(args[0], kindNames()))
		}
		r := resources()[i]
		for _, flag := range []string{"routing-domain", "vsid", "host", "vm", "ca", "customer", "limit", "revision", "at"} {
			if cmd.Flags().Changed(flag) && !slices.Contains(r.filters, flag) {
				return usagef("--%s is not for %s", flag, r.name)
			}
		}
		name := ""
		if len(args) == 2 {
			name = args[1]
		}
		return g.with(cmd, func(ctx context.Context, cl *client.Client) error { return r.get(ctx, cl, &g, name, cmd.OutOrStdout()) })
	}
	return cmd
}

func kindNames() (names []string) {
	for _, r := range resources() {
		names = append(names, r.name)
	}
	return names
}

// query returns the filters that are set.
func (g *getFlags) query() url.Values {
	q := url.Values{}
	for parameter, value := range map[string]string{"routing_domain": g.domain, "vsid": g.vsid, "host": g.host, "vm": g.vm, "ca": g.ca, "customer": g.customer} {
		if value != "" {
			q.Set(parameter, value)
		}
	}
	return q
}

func getObjects(kind string) func(context.Context, *client.Client, *getFlags, string, io.Writer) error {
	return func(ctx context.Context, cl *client.Client, g *getFlags, name string, w io.Writer) error {
		q := g.query()
		if err := g.moment.add(q); err != nil {
			return err
		}
		keep := narrow(kind, name, q)
		list := api.List{Items: []api.Item{}}
		q.Set("limit", "5000")
		var out itemWriter
		if g.output == "table" || g.output == "wide" {
			out = newItemTable(w, kind, g.output == "wide")
		} else {
			out = func(it *api.Item) error { list.Items = append(list.Items, *it); return nil }
			if g.output == "name" {
				out = func(it *api.Item) error { _, err := fmt.Fprintln(w, it.Key); return err }
			}
		}
		n := 0
		revision, err := cl.List(ctx, kind, q, func(it api.Item) error {
			if !keep(&it) {
				return nil
			}
			n++
			return out(&it)
		})
		if err != nil {
			return err
		}
		list.Revision = revision
		switch {
		case n == 0 && name != "":
			return fmt.Errorf("there is no %s %s at revision %d: see nvgre-ofctl get %s", strings.TrimSuffix(kind, "s"), name, revision, kind)
		case g.output == "json":
			return printJSON(w, list)
		case g.output == "yaml":
			return printYAML(w, list)
		case g.output == "name":
			return nil
		}
		return out(nil)
	}
}

// narrow makes the query as narrow as the name of an object allows, and returns
// what tells the objects of that name from others.
func narrow(kind, name string, q url.Values) func(*api.Item) bool {
	if name == "" {
		return func(*api.Item) bool { return true }
	}
	key := kind + "/" + strings.TrimPrefix(name, kind+"/")
	if k, err := api.ParseKey(key); err == nil && !(kind == "hosts") {
		if kind == "records" {
			q.Set("vsid", k.VSID().String())
			q.Set("ca", k.CA().String())
		}
		return func(it *api.Item) bool { return it.Key == k.String() }
	}
	switch kind {
	case "records":
		if _, err := netip.ParseAddr(name); err == nil {
			q.Set("ca", name)
			return func(*api.Item) bool { return true }
		}
		q.Set("vm", name)
		return func(*api.Item) bool { return true }
	case "hosts":
		return func(it *api.Item) bool { o, ok := it.Object.Object.(tenant.HostObject); return ok && o.Name == name }
	}
	return func(it *api.Item) bool {
		switch o := it.Object.Object.(type) {
		case tenant.RoutingDomainObject:
			return o.Name == name
		case tenant.SubnetObject:
			return o.Name == name
		case tenant.RouteObject:
			return o.Prefix.String() == name
		}
		return false
	}
}

// itemWriter takes the objects of a list; nil is their end.
type itemWriter func(*api.Item) error

// newItemTable writes objects as a table, in pieces: a large one is not kept.
func newItemTable(w io.Writer, kind string, wide bool) itemWriter {
	const piece = 1000
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	row := func(cells []string) error {
		for i := range cells {
			cells[i] = cmp.Or(cells[i], "-")
		}
		_, err := fmt.Fprintln(t, strings.Join(cells, "\t"))
		return err
	}
	n := 0
	return func(it *api.Item) error {
		if it == nil {
			return t.Flush()
		}
		if n == 0 {
			if err := row(headings(kind, wide)); err != nil {
				return err
			}
		}
		if n++; n%piece == 0 {
			if err := t.Flush(); err != nil {
				return err
			}
		}
		return row(cells(it, wide))
	}
}

func headings(kind string, wide bool) []string {
	all := map[string][2][]string{
		"records":         {{"ROUTING DOMAIN", "VSID", "CA", "VM", "MAC", "HOST"}, {"IFACE-ID", "PA", "TYPE", "OPTIONS", "RDID"}},
		"subnets":         {{"ROUTING DOMAIN", "VSID", "NAME", "PREFIXES"}, {"GATEWAYS", "MULTICAST", "DHCP", "MTU", "RDID"}},
		"routing-domains": {{"NAME", "RDID", "CUSTOMER"}, nil},
		"routes":          {{"ROUTING DOMAIN", "PREFIX", "NEXT HOP", "METRIC"}, {"SUBNET", "RDID"}},
		"hosts":           {{"NAME", "PROVIDER ADDRESSES"}, {"OVSDB", "OPENFLOW", "MTU", "ROUTES"}},
	}[kind]
	if wide {
		return slices.Concat(all[0], all[1])
	}
	return slices.Clone(all[0])
}

func cells(it *api.Item, wide bool) (row []string) {
	var more []string
	switch o := it.Object.Object.(type) {
	case tenant.RecordObject:
		row = []string{it.RoutingDomain, o.VSID.String(), o.CA.String(), o.VM, o.MAC.String(), it.Host}
		more = []string{cmp.Or(o.IfaceID, o.VM), o.PA.String(), recordType(o.Options), recordOptions(o.Options), it.RDID}
	case tenant.SubnetObject:
		row = []string{it.RoutingDomain, o.VSID.String(), cmp.Or(o.Name, o.VSID.String()), joined(o.Prefixes)}
		gateways := o.Gateways
		if len(gateways) == 0 {
			gateways = tenant.DefaultGateways(o.Prefixes)
		}
		more = []string{joined(gateways), o.Multicast.Mode.String(), onOff(o.DHCP), number(o.MTU), it.RDID}
	case tenant.RoutingDomainObject:
		row = []string{cmp.Or(o.Name, o.RDID.String()), o.RDID.String(), o.Customer}
	case tenant.RouteObject:
		row = []string{it.RoutingDomain, o.Prefix.String(), o.NextHop.String(), fmt.Sprint(o.Metric)}
		if o.BlackHole {
			row[2] = "black hole"
		}
		more = []string{number(o.VSID), it.RDID}
	case tenant.HostObject:
		row = []string{o.Name, providerAddresses(o.ProviderAddresses, wide)}
		more = []string{o.OVSDB, o.OpenFlow, number(cmp.Or(o.MTU, tenant.DefaultMTU)), providerRoutes(o.Routes)}
	}
	if wide {
		row = append(row, more...)
	}
	return row
}

func joined[T fmt.Stringer](all []T) string {
	texts := make([]string, len(all))
	for i := range all {
		texts[i] = all[i].String()
	}
	return strings.Join(texts, ", ")
}

// printYAML writes what printJSON would, in YAML and the same order.
func printYAML(w io.Writer, v any) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var n yaml.Node
	if err := yaml.Unmarshal(text, &n); err != nil { // JSON is YAML
		return err
	}
	plain(&n)
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&n); err != nil {
		return err
	}
	return e.Close()
}

// plain takes the braces and quotes of JSON away where YAML needs none.
func plain(n *yaml.Node) {
	n.Style = 0
	for _, c := range n.Content {
		plain(c)
	}
}

func getPolicy(ctx context.Context, cl *client.Client, g *getFlags, name string, w io.Writer) error {
	if name != "" {
		return usagef("there is one policy: want get policy, or get KIND %s", name)
	}
	if g.output != "table" && g.output != "yaml" {
		return usagef("--output is %q: a policy file is YAML", g.output)
	}
	q := url.Values{}
	if err := g.moment.add(q); err != nil {
		return err
	}
	text, err := cl.Policy(ctx, q)
	if err != nil {
		return err
	}
	_, err = w.Write(text)
	return err
}

func getAttachments(ctx context.Context, cl *client.Client, g *getFlags, name string, w io.Writer) error {
	q := g.query()
	if name != "" {
		q.Set("vm", name)
	}
	as, err := cl.Attachments(ctx, q)
	if err != nil {
		return err
	}
	switch g.output {
	case "json":
		return printJSON(w, append([]admin.Attachment{}, as...))
	case "yaml":
		return printYAML(w, append([]admin.Attachment{}, as...))
	case "name":
		for _, a := range as {
			if _, err := fmt.Fprintln(w, a.Host+"/"+a.IfaceID); err != nil {
				return err
			}
		}
		return nil
	}
	if len(as) == 0 && name != "" {
		return fmt.Errorf("no port of %s is known: is the VM running, and is iface-id set on its port?", name)
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	head := "VM\tROUTING DOMAIN\tCA\tVSID\tHOST\tINSTALLED\tPROBLEM"
	if g.output == "wide" {
		head += "\tIFACE-ID\tINTERFACE\tPORT"
	}
	fmt.Fprintln(t, head)
	for _, a := range as {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s", cmp.Or(a.VM, "-"), cmp.Or(a.RoutingDomain, "-"), cmp.Or(a.CA, "-"), vsid(a.VSID), a.Host, yes(a.Installed), cmp.Or(a.Problem, "-"))
		if g.output == "wide" {
			fmt.Fprintf(t, "\t%s\t%s\t%d", a.IfaceID, cmp.Or(a.Interface, "-"), a.OFPort)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func getStatus(ctx context.Context, cl *client.Client, g *getFlags, name string, w io.Writer) error {
	var st *admin.Status
	var shown any
	if name == "" {
		var err error
		if st, err = cl.Status(ctx); err != nil {
			return err
		}
		shown = st
	} else {
		h, err := cl.HostStatus(ctx, name)
		if err != nil {
			return err
		}
		shown = h
		st = &admin.Status{Policy: admin.Policy{Revision: h.RevisionWanted}, Hosts: []admin.Host{*h}}
		st.Judge()
	}
	var err error
	switch {
	case g.output == "json":
		err = printJSON(w, shown)
	case g.output == "yaml":
		err = printYAML(w, shown)
	case g.output == "name":
		for _, h := range st.Hosts {
			fmt.Fprintln(w, h.Name)
		}
	case name != "":
		err = printHostStatus(w, st)
	default:
		err = printStatus(w, st)
	}
	if err == nil && !st.Healthy {
		err = &exitError{code: codeUnhealthy}
	}
	return err
}

// printHostStatus writes the status of the one host in st.
func printHostStatus(w io.Writer, st *admin.Status) error {
	h := &st.Hosts[0]
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintf(t, "host\t%s\n", h.Name)
	fmt.Fprintf(t, "ovsdb\t%s, %s\n", up(h.OVSDB.Connected), h.OVSDB.Address)
	fmt.Fprintf(t, "openflow\t%s, %s\n", up(h.OpenFlow.Connected), h.OpenFlow.Address)
	fmt.Fprintf(t, "in sync\t%s: revision %d wanted, %d installed, last %s\n", yes(h.InSync), h.RevisionWanted, h.RevisionInstalled, lastSync(*h))
	if h.LagSeconds > 0 {
		fmt.Fprintf(t, "lag\t%s\n", time.Duration(h.LagSeconds*float64(time.Second)).Round(time.Millisecond))
	}
	fmt.Fprintf(t, "flows\t%d of %d wanted, %d foreign\n", h.FlowsInstalled, h.FlowsWanted, h.FlowsForeign)
	for _, r := range h.Refused {
		fmt.Fprintf(t, "refused\t%s: %s: %s\n", r.Owner, r.Error, r.Flow)
	}
	for _, m := range append(st.Missing, st.Trouble...) {
		fmt.Fprintf(t, "!\t%s\n", m)
	}
	return t.Flush()
}

func getRevisions(ctx context.Context, cl *client.Client, g *getFlags, name string, w io.Writer) error {
	if name != "" {
		return usagef("get revisions takes no name: nvgre-ofctl diff --from REVISION shows what changed")
	}
	heads, err := cl.Revisions(ctx, g.limit)
	if err != nil {
		return err
	}
	switch g.output {
	case "json":
		return printJSON(w, heads)
	case "yaml":
		return printYAML(w, heads)
	case "name":
		for _, h := range heads {
			fmt.Fprintln(w, h.Revision)
		}
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(t, "REVISION\tTIME\tCHANGES\tAUTHOR\tCOMMENT")
	for _, h := range heads {
		fmt.Fprintf(t, "%d\t%s\t%d\t%s\t%s\n", h.Revision, localTime(h.Time), h.Changes, cmp.Or(h.Author, "-"), cmp.Or(h.Comment, "-"))
	}
	return t.Flush()
}

func localTime(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format(time.DateTime)
}
