package rig

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// storePolicy is the policy in the controller's store, which the API writes.
type storePolicy struct {
	dir     string
	size    Size
	further int
	http    *http.Client
}

// NewStorePolicy returns what makes a policy in the controller's own store. It
// begins with the network's hosts and tenants, and as many further records of
// other tenants as given, whose VMs are attached nowhere.
func NewStorePolicy(further int) func(dir string, size Size) (Policy, error) {
	return func(dir string, size Size) (Policy, error) {
		p := &storePolicy{dir: dir, size: size, further: further}
		p.http = &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", p.socket())
		}}}
		return p, nil
	}
}

func (p *storePolicy) socket() string { return filepath.Join(p.dir, "api.sock") }

func (p *storePolicy) Settings() string {
	return fmt.Sprintf("store: {directory: %s}\napi-socket: %s\n", filepath.Join(p.dir, "store"), p.socket())
}

// Begin waits for the API and puts what is there before the first VM.
func (p *storePolicy) Begin(ctx context.Context) error {
	for {
		err := p.apply(ctx, p.network())
		if err == nil {
			break
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond): // the controller starts
		}
	}
	return p.apply(ctx, p.others())
}

// mostChanges is how many changes one request of a cold start has.
const mostChanges = 50_000

// Add puts one record by its key, and many in one apply.
func (p *storePolicy) Add(ctx context.Context, vms ...VM) error {
	if len(vms) == 1 {
		o := record(vms[0])
		body, err := o.MarshalJSON()
		if err != nil {
			return err
		}
		return p.do(ctx, http.MethodPut, "/v1/"+o.Key().String(), "application/json", body)
	}
	return p.apply(ctx, func(yield func(tenant.Object) bool) {
		for _, v := range vms {
			if !yield(record(v)) {
				return
			}
		}
	})
}

func record(v VM) tenant.RecordObject {
	return tenant.RecordObject{VSID: tenant.VSID(vsid(v.Tenant, v.Subnet)), CA: tenant.CAFrom(v.CA), VM: v.Name, MAC: v.MAC}
}

// network yields the hosts and the tenants.
func (p *storePolicy) network() iter.Seq[tenant.Object] {
	return func(yield func(tenant.Object) bool) {
		for h := range p.size.Chassis {
			if !yield(tenant.HostObject{Name: ChassisName(h), ProviderAddresses: []tenant.ProviderAddress{{PA: tenant.PAFrom(PA(h))}}}) {
				return
			}
		}
		for t := range p.size.Tenants {
			if !yield(domain(t)) {
				return
			}
			for s := range Subnets {
				if !yield(subnet(t, s)) {
					return
				}
			}
		}
	}
}

func domain(t int) tenant.RoutingDomainObject {
	id, err := tenant.ParseRDID(rdid(t))
	if err != nil {
		panic(err) // rdid has a mistake
	}
	return tenant.RoutingDomainObject{RDID: id, Name: fmt.Sprintf("tenant%d", t)}
}

func subnet(t, s int) tenant.SubnetObject {
	return tenant.SubnetObject{VSID: tenant.VSID(vsid(t, s)), RDID: domain(t).RDID, Prefixes: []tenant.CAPrefix{tenant.CAPrefixFrom(Prefix(s))}}
}

// otherRecords is how many records a further tenant has.
const otherRecords = 500

// others yields the further tenants with their records.
func (p *storePolicy) others() iter.Seq[tenant.Object] {
	return func(yield func(tenant.Object) bool) {
		for n := range p.further {
			t, i := 1000+n/otherRecords, n%otherRecords
			if i == 0 && (!yield(domain(t)) || !yield(subnet(t, 0))) {
				return
			}
			if !yield(tenant.RecordObject{
				VSID: tenant.VSID(vsid(t, 0)), CA: tenant.CAFrom(netip.AddrFrom4([4]byte{10, 0, byte((i + 10) >> 8), byte(i + 10)})),
				VM: fmt.Sprintf("other%d", n), MAC: tenant.MAC{2, 0x4f, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)},
			}) {
				return
			}
		}
	}
}

// apply puts objects, so many at once.
func (p *storePolicy) apply(ctx context.Context, objects iter.Seq[tenant.Object]) error {
	var body bytes.Buffer
	n := 0
	send := func() error {
		if n == 0 {
			return nil
		}
		defer func() { n = 0; body.Reset() }()
		return p.do(ctx, http.MethodPost, "/v1/apply", "application/x-ndjson", body.Bytes())
	}
	for o := range objects {
		text, err := o.MarshalJSON()
		if err != nil {
			return err
		}
		fmt.Fprintf(&body, "{\"op\":\"put\",\"key\":%q,\"object\":%s}\n", o.Key().String(), text)
		if n++; n == mostChanges {
			if err := send(); err != nil {
				return err
			}
		}
	}
	return send()
}

func (p *storePolicy) do(ctx context.Context, method, path, media string, body []byte) error {
	q, err := http.NewRequestWithContext(ctx, method, "http://controller"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	q.Header.Set("Content-Type", media)
	resp, err := p.http.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	// A large apply may fail after it has begun to answer.
	var answer struct{ Problem json.RawMessage }
	_ = json.Unmarshal(text, &answer) // other answers have other forms
	if resp.StatusCode/100 != 2 || answer.Problem != nil {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, text[:min(len(text), 1000)])
	}
	return nil
}
