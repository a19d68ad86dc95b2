package ovn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ovn-kubernetes/libovsdb/ovsdb"
	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/bench/rig"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// Where Debian keeps the schemas of OVN's databases.
const (
	schemaNB = "/usr/share/ovn/ovn-nb.ovsschema"
	schemaSB = "/usr/share/ovn/ovn-sb.ovsschema"
)

// Require skips a test or benchmark where OVN is not installed.
func Require(tb testing.TB) {
	tb.Helper()
	for _, c := range []string{"ovn-northd", "ovn-controller"} {
		if _, err := ovsproc.LookPath(c); err != nil {
			tb.Skipf("OVN is not installed (%v), so nothing was compared with it: apt-get install ovn-central ovn-host", err)
		}
	}
	for _, f := range []string{schemaNB, schemaSB} {
		if _, err := os.Stat(f); err != nil {
			tb.Skipf("OVN is not installed as on Debian, so nothing was compared with it: %v", err)
		}
	}
}

// OVN is a whole OVN of one's own: two databases, ovn-northd, and an
// ovn-controller on each chassis.
type OVN struct {
	Size    rig.Size
	Chassis []*rig.Chassis

	security bool // on every port

	procs []*rig.Process
	nb    *rig.Database
	up    *rig.Board // logical switch ports that are up, by name

	mu   sync.Mutex
	hv   int           // NB_Global.hv_cfg
	wake chan struct{} // closed, and replaced, when hv changes
	cfg  int           // the last nb_cfg given
}

// Start starts the chassis and OVN on them, with tenants and no VM, and returns
// when every chassis has that. All end with the test. portSecurity has OVN check
// the addresses that VMs send from, as ours always does.
func Start(tb testing.TB, size rig.Size, portSecurity bool) *OVN {
	tb.Helper()
	Require(tb)
	dir, ctx := rig.TempDir(tb), rig.Within(tb, rig.StartLimit)
	o := &OVN{Size: size, security: portSecurity, Chassis: rig.StartChassis(tb, dir, size), up: rig.NewBoard(), wake: make(chan struct{})}
	central := filepath.Join(dir, "central")
	if err := os.Mkdir(central, 0o755); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if o.nb != nil {
			o.nb.Close()
		}
		for i := len(o.procs) - 1; i >= 0; i-- {
			o.procs[i].End()
		}
		if tb.Failed() {
			for _, p := range o.procs {
				tb.Logf("%s:\n%s", p.Name, p.Output())
			}
		}
	})
	run := func(name, dir, command string, args ...string) {
		tb.Helper()
		p, err := rig.StartProcess(name, dir, command, append(args, "-vconsole:warn")...)
		if err != nil {
			tb.Fatal(err)
		}
		o.procs = append(o.procs, p)
	}
	socket := func(db string) string { return filepath.Join(central, db+".sock") }
	tools := ovsproc.New(central)
	for _, db := range []struct{ name, schema string }{{"nb", schemaNB}, {"sb", schemaSB}} {
		file := filepath.Join(central, db.name+".db")
		if _, err := tools.Run(ctx, "ovsdb-tool", "create", file, db.schema); err != nil {
			tb.Fatal(err)
		}
		run("ovsdb-server-"+db.name, central, "ovsdb-server", "--remote=punix:"+socket(db.name), file)
		if err := waitFor(ctx, socket(db.name)); err != nil {
			tb.Fatal(err)
		}
	}
	for _, db := range []string{"nb", "sb"} {
		if _, err := tools.Run(ctx, "ovn-"+db+"ctl", "--db=unix:"+socket(db), "init"); err != nil {
			tb.Fatal(err)
		}
	}
	run("ovn-northd", central, "ovn-northd", "--ovnnb-db=unix:"+socket("nb"), "--ovnsb-db=unix:"+socket("sb"))
	for n, c := range o.Chassis {
		if _, err := c.Vsctl(ctx, "set", "Open_vSwitch", ".",
			"external_ids:ovn-remote=unix:"+socket("sb"), "external_ids:ovn-encap-type=geneve", "external_ids:ovn-encap-ip="+rig.PA(n).String(),
			"external_ids:ovn-openflow-probe-interval=0", "external_ids:ovn-remote-probe-interval=0",
			// A bundle that a busy ovn-controller leaves alone for the 10 s of the default
			// ends its connection, and then it may never confirm.
			"other_config:bundle-idle-timeout=180",
			// Every chassis has VMs of every tenant: choosing what to send to whom would be in vain.
			"external_ids:ovn-monitor-all=true"); err != nil {
			tb.Fatal(err)
		}
		run("ovn-controller", c.Dir(), "ovn-controller", "unix:"+c.DBSock())
	}
	var err error
	if o.nb, err = rig.OpenDatabase(ctx, socket("nb"), "OVN_Northbound", map[string][]string{
		"NB_Global": {"hv_cfg"}, "Logical_Switch_Port": {"name", "up"},
	}, o.seen); err != nil {
		tb.Fatal(err)
	}
	if err := o.nb.Commit(ctx, rig.Update("NB_Global", ovsdb.Row{"options": rig.Map("northd_probe_interval", "0")})); err != nil {
		tb.Fatal(err)
	}
	for _, c := range o.Chassis {
		if err := c.WaitBridge(ctx); err != nil {
			tb.Fatal(err)
		}
	}
	for {
		out, err := tools.Run(ctx, "ovn-sbctl", "--db=unix:"+socket("sb"), "--bare", "--columns=name", "list", "Chassis_Private")
		if err != nil {
			tb.Fatal(err)
		}
		if len(strings.Fields(out)) == size.Chassis {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err := o.tenants(ctx); err != nil {
		tb.Fatal(err)
	}
	return o
}

func waitFor(ctx context.Context, path string) error {
	for {
		_, err := os.Stat(path)
		if !errors.Is(err, os.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", path, context.Cause(ctx))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func (o *OVN) seen(table string, row ovsdb.Row) {
	switch table {
	case "Logical_Switch_Port":
		if up, _ := row["up"].(bool); up {
			name, _ := row["name"].(string)
			o.up.Note(name)
		}
	case "NB_Global":
		hv, _ := row["hv_cfg"].(float64)
		o.mu.Lock()
		defer o.mu.Unlock()
		if int(hv) > o.hv {
			o.hv = int(hv)
			close(o.wake)
			o.wake = make(chan struct{})
		}
	}
}

// bump returns the operation that asks every chassis to confirm all up to here,
// and the number that it will be confirmed by.
func (o *OVN) bump() (ovsdb.Operation, int) {
	o.cfg++
	return rig.Update("NB_Global", ovsdb.Row{"nb_cfg": o.cfg}), o.cfg
}

// confirmed waits until every chassis has confirmed a number.
func (o *OVN) confirmed(ctx context.Context, cfg int) error {
	for {
		o.mu.Lock()
		hv, wake := o.hv, o.wake
		o.mu.Unlock()
		if hv >= cfg {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return fmt.Errorf("hv_cfg is %d, want %d: %w", hv, cfg, context.Cause(ctx))
		}
	}
}

// Sync waits until every chassis has all that the databases hold now.
func (o *OVN) Sync(ctx context.Context) error {
	op, cfg := o.bump()
	if err := o.nb.Commit(ctx, op); err != nil {
		return err
	}
	return o.confirmed(ctx, cfg)
}

func switchName(tenant, subnet int) string { return fmt.Sprintf("tenant%d-%d", tenant, subnet) }

// tenants makes the routers and subnets, without VMs.
func (o *OVN) tenants(ctx context.Context) error {
	var ops []ovsdb.Operation
	for t := range o.Size.Tenants {
		var routerPorts []string
		for s := range rig.Subnets {
			name := switchName(t, s)
			mac := fmt.Sprintf("02:4f:00:00:%02x:%02x", t, s)
			n := fmt.Sprintf("%d_%d", t, s)
			ops = append(ops,
				rig.Insert("Logical_Router_Port", "lrp"+n, ovsdb.Row{"name": "router-" + name, "mac": mac,
					"networks": fmt.Sprintf("%s/%d", rig.Gateway(s), rig.Prefix(s).Bits())}),
				rig.Insert("Logical_Switch_Port", "lsp"+n, ovsdb.Row{"name": name + "-router", "type": "router", "addresses": "router",
					"options": rig.Map("router-port", "router-"+name)}),
				rig.Insert("Logical_Switch", "ls"+n, ovsdb.Row{"name": name, "ports": rig.Set("lsp" + n)}))
			routerPorts = append(routerPorts, "lrp"+n)
		}
		ops = append(ops, rig.Insert("Logical_Router", fmt.Sprintf("lr%d", t), ovsdb.Row{"name": fmt.Sprintf("tenant%d", t), "ports": rig.Set(routerPorts...)}))
	}
	op, cfg := o.bump()
	if err := o.nb.Commit(ctx, append(ops, op)...); err != nil {
		return err
	}
	return o.confirmed(ctx, cfg)
}

// Name names the control plane.
func (o *OVN) Name() string { return "OVN" }

// Processes returns the processes of the control plane. The chassis' own
// databases and switches are not among them, as they are not among ours.
func (o *OVN) Processes() []*rig.Process { return o.procs }

// Switches returns the chassis.
func (o *OVN) Switches() []*rig.Chassis { return o.Chassis }

// ColdStart gives OVN the VMs up to, and without, a number, as fast as it takes
// them.
func (o *OVN) ColdStart(ctx context.Context, ports int) (rig.Start, error) {
	return o.add(ctx, o.Size.VMs(0, ports))
}

// Plug attaches a VM that OVN has no port for yet, and returns how long the switch
// took to give its port a number.
func (o *OVN) Plug(ctx context.Context, n int) (time.Duration, error) {
	return rig.Plug(ctx, o.Chassis, o.Size.VM(n))
}

// AddRecord adds the logical port of a VM whose port is there, and returns how
// long it took.
func (o *OVN) AddRecord(ctx context.Context, n int) (time.Duration, error) {
	begin, vms := time.Now(), o.Size.VMs(n, n+1)
	cfg, err := o.addPorts(ctx, vms)
	if err != nil {
		return 0, err
	}
	last, err := o.everywhere(ctx, cfg, vms)
	return last.Sub(begin), err
}

// AddVM adds one VM, its logical port and its attachment at once.
func (o *OVN) AddVM(ctx context.Context, n int) (rig.Addition, error) {
	begin := time.Now()
	s, err := o.add(ctx, o.Size.VMs(n, n+1))
	if err != nil {
		return rig.Addition{}, err
	}
	return rig.NewAddition(ctx, o.Chassis, o.Size.VM(n), begin, s.All)
}

// everywhere waits until every chassis has confirmed a number and the ports of
// VMs are up, and returns since when.
func (o *OVN) everywhere(ctx context.Context, cfg int, vms []rig.VM) (time.Time, error) {
	if err := o.confirmed(ctx, cfg); err != nil {
		return time.Time{}, err
	}
	last := time.Now()
	var names []string
	for _, v := range vms {
		names = append(names, v.Name)
	}
	up, err := o.up.Wait(ctx, names...)
	if err != nil {
		return last, fmt.Errorf("ports that are not up: %w", err)
	}
	if up.After(last) {
		last = up
	}
	return last, nil
}

func (o *OVN) add(ctx context.Context, vms []rig.VM) (s rig.Start, err error) {
	begin := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	var cfg int
	g.Go(func() (err error) { cfg, err = o.addPorts(gctx, vms); return err })
	rig.AttachAll(gctx, g, o.Chassis, vms)
	if err := g.Wait(); err != nil {
		return s, err
	}
	inputs := time.Now()
	last, err := o.everywhere(ctx, cfg, vms)
	if err != nil {
		return s, err
	}
	return rig.Start{Inputs: inputs.Sub(begin), Converged: last.Sub(inputs), All: last.Sub(begin)}, nil
}

// addPorts adds the logical ports of VMs in one transaction.
func (o *OVN) addPorts(ctx context.Context, vms []rig.VM) (cfg int, err error) {
	var ops []ovsdb.Operation
	ports := map[string][]string{}
	for _, v := range vms {
		named := fmt.Sprintf("p%d", v.Number)
		address := fmt.Sprintf("%s %s", v.MAC, v.CA)
		row := ovsdb.Row{"name": v.Name, "addresses": address}
		if o.security {
			row["port_security"] = address
		}
		ops = append(ops, rig.Insert("Logical_Switch_Port", named, row))
		of := switchName(v.Tenant, v.Subnet)
		ports[of] = append(ports[of], named)
	}
	for of, named := range ports {
		ops = append(ops, rig.AddTo("Logical_Switch", of, "ports", named...))
	}
	op, cfg := o.bump()
	return cfg, o.nb.Commit(ctx, append(ops, op)...)
}
