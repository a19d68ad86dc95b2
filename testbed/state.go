//go:build linux

// Package testbed builds whole virtual networks on one machine: every host is a
// network namespace with its own real Open vSwitch, every VM a namespace on
// that host's br-int, and an underlay joins the hosts.
//
// What a testbed is made of is written down in its state directory before it is
// made, and carries the testbed's label, so that [Remove] finds everything after
// any crash and touches nothing else.
package testbed

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovsproc"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// DefaultStateRoot is where testbeds keep their state, each in a directory of
// its name.
const DefaultStateRoot = "/run/nvgre-ofctl/testbed"

// Phases in the life of a testbed.
const (
	PhaseBuilding = "building" // or broken off while building
	PhaseUp       = "up"
	PhaseRemoving = "removing"
)

// Names of what a testbed makes on each host.
const (
	IntegrationBridge = "br-int" // the controller's
	ProviderBridge    = "br-phy" // holds the uplink and the provider addresses
	Uplink            = "up0"    // the host's device towards the underlay
	Uplink2           = "up1"    // the second one, where uplinks are bonded
	VMDevice          = "eth0"   // a VM's only adapter
)

const stateFile, stateVersion = "state.json", 1

// state is what a testbed writes down about itself.
type state struct {
	Version    int
	Owner      int // the process that builds or removes it
	Phase      string
	Created    time.Time
	Datapath   string   // netdev or system
	MadeDirs   []string // the state root and what is above it, as far as made for this testbed, the deepest first
	Namespaces []namespace
	Processes  []process // besides the switches, and those in namespaces
	Plan       *topology.Plan
}

// namespace is one network namespace; Inode is 0 until it has been made.
type namespace struct {
	Name  string
	Inode uint64
}

// process is a process outside of the namespaces that ends with the testbed.
type process struct {
	Pid       int
	StartTime string // since boot, in clock ticks (proc(5)): pids are used again
}

// Testbed is a testbed on this machine, running or left over. Its methods may
// be called by several goroutines, but for those that change it.
type Testbed struct {
	dir string

	mu    sync.Mutex
	state state
}

// A NotFoundError says that there is no testbed of that name.
type NotFoundError struct{ Name, Root string }

// Error implements error.
func (e *NotFoundError) Error() string {
	return fmt.Sprintf("there is no testbed %s in %s: `nvgre-ofctl testbed up -f FILE` makes one, `testbed ls` lists them", e.Name, e.Root)
}

// Open returns the named testbed below a state root. With an empty name it
// returns the only one there is.
func Open(root, name string) (*Testbed, error) {
	root, err := filepath.Abs(root) // commands that run elsewhere get paths below it
	if err != nil {
		return nil, err
	}
	if name == "" {
		all, err := List(root)
		if err != nil {
			return nil, err
		}
		switch len(all) {
		case 0:
			return nil, fmt.Errorf("there is no testbed in %s: `nvgre-ofctl testbed up -f FILE` makes one", root)
		case 1:
			return all[0], nil
		}
		var names []string
		for _, t := range all {
			names = append(names, t.Name())
		}
		return nil, fmt.Errorf("several testbeds are here: say which with --name %s", strings.Join(names, " or --name "))
	}
	t := &Testbed{dir: filepath.Join(root, name)}
	if err := ReadState(root, name, stateFile, &t.state); err != nil {
		return nil, err
	}
	if t.state.Version != stateVersion || t.state.Plan == nil {
		return nil, fmt.Errorf("testbed %s was made by another version of nvgre-ofctl: remove it with that version", name)
	}
	return t, nil
}

// ReadState reads the named file of the named testbed below a state root; a
// [*NotFoundError] where there is none.
func ReadState(root, name, file string, state any) error {
	dir := filepath.Join(root, name)
	b, err := os.ReadFile(filepath.Join(dir, file))
	if errors.Is(err, fs.ErrNotExist) {
		return &NotFoundError{name, root}
	}
	if err != nil {
		return fmt.Errorf("reading the state of testbed %s: %w", name, err)
	}
	if err := json.Unmarshal(b, state); err != nil {
		return fmt.Errorf("reading the state of testbed %s in %s: %w", name, dir, err)
	}
	return nil
}

// List returns the testbeds below a state root by name.
func List(root string) ([]*Testbed, error) { return ListBy(root, Open) }

// ListBy returns, by name, the testbeds below a state root that open finds there.
func ListBy[T interface{ Name() string }](root string, open func(root, name string) (T, error)) ([]T, error) {
	entries, err := os.ReadDir(root)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var all []T
	for _, e := range entries {
		t, err := open(root, e.Name())
		var missing *NotFoundError
		if errors.As(err, &missing) {
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b T) int { return cmp.Compare(a.Name(), b.Name()) })
	return all, nil
}

// Name returns the testbed's name.
func (t *Testbed) Name() string { return t.Plan().Name }

// Dir returns the state directory.
func (t *Testbed) Dir() string { return t.dir }

// Plan returns what the testbed is made of. It must not be modified.
func (t *Testbed) Plan() *topology.Plan {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Plan
}

// Phase returns where in its life the testbed is: "up", or a phase that a crash
// left behind.
func (t *Testbed) Phase() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Phase
}

// Created returns when the testbed was made.
func (t *Testbed) Created() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Created
}

// Datapath returns the datapath type of its bridges: netdev or system.
func (t *Testbed) Datapath() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.state.Datapath
}

// Settings returns the path of a settings file for a controller of this testbed.
func (t *Testbed) Settings() string { return filepath.Join(t.dir, "nvgre.yaml") }

// Switch returns a host's Open vSwitch.
func (t *Testbed) Switch(host string) *ovsproc.Switch {
	return ovsproc.New(t.runDir(host), ovsproc.InNetNS(t.HostNamespace(host)))
}

func (t *Testbed) runDir(host string) string {
	if !plainName.MatchString(host) {
		host = fmt.Sprintf("+%016x", hash64(host))
	}
	return filepath.Join(t.dir, "ovs", host)
}

// label marks what belongs to this testbed; state directories are unique.
func (t *Testbed) label() string { return "nvgre-ofctl testbed " + t.dir }

// update changes the state and writes it down.
func (t *Testbed) update(change func(*state)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	change(&t.state)
	b, err := json.MarshalIndent(&t.state, "", "  ")
	if err != nil {
		return err
	}
	// A reader must see the old file or the new one, also after a crash.
	path := filepath.Join(t.dir, stateFile)
	if err := os.WriteFile(path+".new", b, 0o644); err != nil {
		return fmt.Errorf("writing the state of the testbed: %w", err)
	}
	return os.Rename(path+".new", path)
}

// lockPatience is how long a lock is waited for. Some of it is needed even after
// the death of its holder: a child that it had just forked keeps the lock until
// it runs its program.
const lockPatience = 2 * time.Second

// lock keeps others from building, changing or removing the testbed, and reads
// what they left. The lock ends with the process at the latest.
func (t *Testbed) lock() (unlock func(), err error) {
	name := filepath.Base(t.dir)
	f, err := os.Open(t.dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	for end := time.Now().Add(lockPatience); ; time.Sleep(10 * time.Millisecond) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fmt.Errorf("locking %s: %w", t.dir, err)
		}
		if time.Now().After(end) {
			return nil, fmt.Errorf("another process is building, changing or removing testbed %s: wait for it to end", name)
		}
	}
	ours, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if there, err := os.Stat(t.dir); err != nil || !os.SameFile(ours, there) {
		return nil, &NotFoundError{name, filepath.Dir(t.dir)} // removed while we waited
	}
	now, err := Open(filepath.Dir(t.dir), name)
	var missing *NotFoundError
	if err == nil {
		t.mu.Lock()
		t.state = now.state
		t.mu.Unlock()
	} else if !errors.As(err, &missing) { // about to be built
		return nil, err
	}
	return func() { f.Close() }, nil
}
