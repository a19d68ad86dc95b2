package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api/client"
	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// policyTimeout is how long the API may take to tell the policy.
const policyTimeout = time.Minute

// policyInForce returns the policy that the controller of these settings carries
// out: that of the settings' policy file, else the one that its API tells, by
// which way from says. Where from names an API itself, that is asked in any case;
// it may be nil. The objects that an API tells are in no file: they have keys only.
func policyInForce(ctx context.Context, s *settings.Settings, from *connection) (*tenant.Policy, error) {
	if s.Policy != "" && !from.named() {
		p, err := policyfile.Load(s.Policy, 0)
		return p, withCode(codeInput, err)
	}
	if !tellsPolicy(s, from) {
		return nil, usagef("nothing tells the policy: give --config, --api or --policy")
	}
	cl := client.Unix(s.APISocket)
	if from.named() {
		var err error
		if cl, err = from.client(); err != nil {
			return nil, err
		}
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(ctx, policyTimeout)
	defer cancel()
	text, err := cl.Policy(ctx, nil)
	if err != nil {
		return nil, fmt.Errorf("the policy in force is that of the controller's API: %w", apiError(err))
	}
	p, err := policyfile.Parse("the policy in force", text, 0)
	if err != nil {
		return nil, withCode(codeInput, err)
	}
	return withoutPlaces(p)
}

// tellsPolicy reports whether anything says where the policy is. Without a
// settings file that is a controller at the default socket.
func tellsPolicy(s *settings.Settings, from *connection) bool {
	if s.Policy != "" || s.File != "" || from.named() {
		return true
	}
	_, err := os.Stat(s.APISocket)
	return !errors.Is(err, fs.ErrNotExist)
}

// withoutPlaces returns a policy whose objects are in no file.
func withoutPlaces(p *tenant.Policy) (*tenant.Policy, error) {
	var changes []tenant.Change
	for o := range p.Objects() {
		switch x := o.(type) {
		case tenant.HostObject:
			x.Source = tenant.Position{}
			o = x
		case tenant.RoutingDomainObject:
			x.Source = tenant.Position{}
			o = x
		case tenant.SubnetObject:
			x.Source = tenant.Position{}
			o = x
		case tenant.RecordObject:
			x.Source = tenant.Position{}
			o = x
		case tenant.RouteObject:
			x.Source = tenant.Position{}
			o = x
		}
		changes = append(changes, tenant.Put(o))
	}
	q, problems := tenant.Empty().Apply(changes, p.Revision())
	if len(problems) > 0 {
		return nil, fmt.Errorf("the policy in force cannot be read: %v", problems[0])
	}
	return q, nil
}
