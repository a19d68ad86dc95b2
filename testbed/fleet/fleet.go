package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/dbserver"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/fleet/ofswitch"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
)

// Options makes a fleet.
type Options struct {
	// Dir is where the sockets, the policy and the settings are; it is made if
	// it is missing. Its path must be short: a unix socket's has 107 octets.
	Dir string
	// Plan says how many hosts there are and what their policy is.
	Plan Plan
	// Attach is how many VMs of each of its routing domains a host has plugged in
	// from the start; -1: all of them.
	Attach int
	// Bridge is the bridge's name; "": br-int.
	Bridge string
	// Bare hosts have no bridge at first: a controller must make it.
	Bare bool
	// TCP gives hosts ports on 127.0.0.1 in place of unix sockets.
	TCP bool
	// FlowLimit is how many flows a switch holds; 0: no limit.
	FlowLimit int
	// Schema is the schema of the Open_vSwitch database; nil: the installed
	// one, [ovsproc.Schema].
	Schema []byte
	// Observe, if not nil, is called for every change of flows that takes
	// effect on a host; see [ofswitch.Config].
	Observe func(host int, m ofswitch.Mod)
}

func (o *Options) path(host, kind string) string { return filepath.Join(o.Dir, host+"."+kind) }

// Fleet is a running fleet.
type Fleet struct {
	dir    string
	bridge string
	layout *Layout
	hosts  []*Host
	pool   *ofswitch.Pool
	stop   func() bool
	once   sync.Once
}

// Start starts a fleet, which ends with ctx or with [Fleet.Close]. When it
// returns, every host can be reached.
func Start(ctx context.Context, o Options) (*Fleet, error) {
	layout, err := NewLayout(o.Plan)
	if err != nil {
		return nil, err
	}
	o.Bridge = cmp.Or(o.Bridge, "br-int")
	if o.Attach != 0 && o.Bare {
		return nil, errors.New("a fleet of bare hosts: VMs have no bridge to attach to; attach them when it is there")
	}
	if o.Schema == nil {
		if o.Schema, err = os.ReadFile(ovsproc.Schema); err != nil {
			return nil, fmt.Errorf("the schema of Open vSwitch's database: %w: install openvswitch-switch (`make deps`)", err)
		}
	}
	schema, err := dbserver.ReadSchema(o.Schema)
	if err != nil {
		return nil, err
	}
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if last := o.path(HostName(o.Plan.Hosts-1), "mgmt"); len(last) > 107 && !o.TCP {
		return nil, fmt.Errorf("%s has %d octets: a unix socket's path has at most 107; choose a shorter directory", last, len(last))
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	if err := enoughFiles(o.Plan.Hosts); err != nil {
		return nil, err
	}
	f := &Fleet{dir: o.Dir, bridge: o.Bridge, layout: layout, hosts: make([]*Host, o.Plan.Hosts), pool: ofswitch.NewPool()}
	group, gctx := errgroup.WithContext(ctx)
	group.SetLimit(2 * runtime.NumCPU())
	for i := range f.hosts {
		group.Go(func() error {
			if err := gctx.Err(); err != nil {
				return err
			}
			h, err := newHost(i, &o, schema, f.pool)
			f.hosts[i] = h
			if err == nil && o.Attach != 0 {
				err = h.Attach(f.first(i, o.Attach)...)
			}
			if err == nil {
				err = h.Accept()
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		f.Close()
		return nil, fmt.Errorf("starting a fleet: %w", err)
	}
	f.stop = context.AfterFunc(ctx, f.close)
	return f, nil
}

// first returns the first n VMs of each routing domain on a host; -1: all.
func (f *Fleet) first(host, n int) (vms []VM) {
	for d := range f.layout.DomainsOf(host) {
		k := 0
		for r := range f.layout.RecordsOn(host, d) {
			if k == n {
				break
			}
			k++
			vms = append(vms, vmOf(f.layout.Record(r)))
		}
	}
	return vms
}

// Close ends every host and removes the sockets. The other files stay.
func (f *Fleet) Close() {
	if f.stop != nil {
		f.stop()
	}
	f.close()
}

func (f *Fleet) close() {
	f.once.Do(func() {
		var wg sync.WaitGroup
		for part := range slices.Chunk(f.hosts, max(1, len(f.hosts)/8)) {
			wg.Go(func() {
				for _, h := range part {
					if h != nil {
						h.close()
					}
				}
			})
		}
		wg.Wait()
	})
}

// Len returns how many hosts there are.
func (f *Fleet) Len() int { return len(f.hosts) }

// Host returns a host, from 0.
func (f *Fleet) Host(i int) *Host { return f.hosts[i] }

// Layout returns what the fleet's policy is.
func (f *Fleet) Layout() *Layout { return f.layout }

// Attach plugs the VMs of records in, each on its host. Records without a host
// are left out.
func (f *Fleet) Attach(records ...int) error {
	byHost := make(map[int][]VM)
	for _, n := range records {
		if r := f.layout.Record(n); r.Host >= 0 {
			byHost[r.Host] = append(byHost[r.Host], vmOf(r))
		}
	}
	var errs []error
	for h, vms := range byHost {
		errs = append(errs, f.hosts[h].Attach(vms...))
	}
	return errors.Join(errs...)
}

// Totals are the sums over all hosts.
type Totals struct {
	Hosts         int
	Flows         int // on all hosts together
	DistinctFlows int // of those, how many differ
	Connections   int // OpenFlow
	Masters       int // switches that have a master
	Databases     int // OVSDB connections
	OpenFlow      ofswitch.Counters
	OVSDB         dbserver.Counters
}

// Totals adds up all hosts, one after the other.
func (f *Fleet) Totals() Totals {
	t := Totals{Hosts: len(f.hosts), DistinctFlows: f.pool.Len()}
	for _, h := range f.hosts {
		s := h.sw.Snapshot()
		t.Flows += s.Flows
		t.Connections += s.Connections
		t.Masters += s.Masters
		t.OpenFlow.Add(&s.Counters)
		t.Databases += h.db.Connections()
		d := h.db.Counters()
		t.OVSDB.Add(&d)
	}
	return t
}

// WaitAll returns when ok has held for every host's switch, one after the other.
func (f *Fleet) WaitAll(ctx context.Context, ok func(host int, s ofswitch.Snapshot) bool) error {
	for i, h := range f.hosts {
		if err := h.sw.Wait(ctx, func(s ofswitch.Snapshot) bool { return ok(i, s) }); err != nil {
			return fmt.Errorf("host %s: %w", h.name, err)
		}
	}
	return nil
}

// maxProblems bounds how many hosts an error names.
const maxProblems = 10

// CheckWriters returns an error if some host was ever written by two: see
// [ofswitch.CheckWrites].
func (f *Fleet) CheckWriters() error {
	var errs []error
	for _, h := range f.hosts {
		if err := ofswitch.CheckWrites(h.sw.Writes()); err != nil {
			if len(errs) == maxProblems {
				return errors.Join(append(errs, errors.New("and more hosts"))...)
			}
			errs = append(errs, fmt.Errorf("host %s: %w", h.name, err))
		}
	}
	return errors.Join(errs...)
}
