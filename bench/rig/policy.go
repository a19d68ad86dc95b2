package rig

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// Policy is how the tenants' policy reaches our controller.
type Policy interface {
	// Settings returns the lines of the controller's settings file that say so.
	Settings() string
	// Begin puts what is there before the first VM, of a controller that starts.
	Begin(ctx context.Context) error
	// Add adds the records of VMs to the policy. When it returns, the controller
	// has them or can read them.
	Add(ctx context.Context, vms ...VM) error
}

// policyFile is a policy file, which is written anew for each change.
type policyFile struct {
	path string
	size Size

	mu  sync.Mutex
	vms []VM
}

// NewPolicyFile returns a policy in a file in dir, with the network's hosts and
// tenants and no record.
func NewPolicyFile(dir string, size Size) (Policy, error) {
	p := &policyFile{path: filepath.Join(dir, "policy.yaml"), size: size}
	return p, p.write()
}

func (p *policyFile) Settings() string {
	return fmt.Sprintf("policy: %s\npolicy-settle: 0s\n", p.path)
}

// Begin implements [Policy]: the controller finds the file when it starts.
func (p *policyFile) Begin(context.Context) error { return nil }

func (p *policyFile) Add(_ context.Context, vms ...VM) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.vms = append(p.vms, vms...)
	return p.write()
}

// rdid returns the identifier of a tenant's routing domain.
func rdid(tenant int) string { return fmt.Sprintf("{0b1e0000-0000-4000-8000-%012d}", tenant+1) }

// vsid returns the identifier of a tenant's subnet.
func vsid(tenant, subnet int) int { return 5000 + tenant*Subnets + subnet }

func (p *policyFile) write() error {
	of := map[[2]int][]VM{}
	for _, v := range p.vms {
		of[[2]int{v.Tenant, v.Subnet}] = append(of[[2]int{v.Tenant, v.Subnet}], v)
	}
	f, err := os.Create(p.path + ".new")
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintln(w, "version: 1\nhosts:")
	for h := range p.size.Chassis {
		fmt.Fprintf(w, "  - {name: %s, provider_addresses: [%s]}\n", ChassisName(h), PA(h))
	}
	fmt.Fprintln(w, "routing_domains:")
	for t := range p.size.Tenants {
		fmt.Fprintf(w, "  - rdid: %q\n    name: tenant%d\n    subnets:\n", rdid(t), t)
		for s := range Subnets {
			fmt.Fprintf(w, "      - vsid: %d\n        prefixes: [%s]\n", vsid(t, s), Prefix(s))
			if len(of[[2]int{t, s}]) > 0 {
				fmt.Fprintln(w, "        records:")
			}
			for _, v := range of[[2]int{t, s}] {
				fmt.Fprintf(w, "          - {vm: %s, ca: %s, mac: %s}\n", v.Name, v.CA, v.MAC)
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return os.Rename(f.Name(), p.path)
}
