package main

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/api"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Completion of names asks the controller, which must not hold the shell up.
const (
	completeTimeout = 500 * time.Millisecond
	mostCompletions = 200
)

// names returns names of objects of a kind that begin with a text; none where
// the controller does not answer.
func names(c *connection, kind, prefix string) (found []string) {
	cl, err := c.client()
	if err != nil {
		return nil
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
	defer cancel()
	enough := context.Canceled
	_, _ = cl.List(ctx, kind, url.Values{"limit": {"1000"}}, func(it api.Item) error {
		name := strings.TrimPrefix(it.Key, kind+"/")
		switch o := it.Object.Object.(type) {
		case tenant.HostObject:
			name = o.Name
		case tenant.RoutingDomainObject:
			if o.Name != "" {
				name = o.Name
			}
		}
		if strings.HasPrefix(name, prefix) {
			found = append(found, name)
		}
		if len(found) == mostCompletions {
			return enough
		}
		return nil
	})
	return found
}

func completeNames(cmd *cobra.Command, c *connection, flag, kind string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, func(_ *cobra.Command, _ []string, prefix string) ([]string, cobra.ShellCompDirective) {
		return names(c, kind, prefix), cobra.ShellCompDirectiveNoFileComp
	})
}

func completeGet(c *connection) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, args []string, prefix string) ([]string, cobra.ShellCompDirective) {
		none := cobra.ShellCompDirectiveNoFileComp
		if len(args) == 0 {
			return kindNames(), none
		}
		if len(args) == 1 {
			kind := args[0]
			if i := slices.IndexFunc(resources(), func(r resource) bool { return slices.Contains(r.aliases, kind) }); i >= 0 {
				kind = resources()[i].name
			}
			switch kind {
			case "status":
				kind = "hosts"
			case "policy", "revisions", "attachments":
				return nil, none
			}
			return names(c, kind, prefix), none
		}
		return nil, none
	}
}

// completeKeys completes a kind, then the key of an object of that kind.
func completeKeys(c *connection) func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return func(_ *cobra.Command, _ []string, prefix string) (found []string, _ cobra.ShellCompDirective) {
		kind, rest, ok := strings.Cut(prefix, "/")
		if !ok {
			return []string{"hosts/", "routing-domains/", "subnets/", "records/", "routes/", "gateway-mac"}, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
		}
		cl, err := c.client()
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		defer cl.Close()
		ctx, cancel := context.WithTimeout(context.Background(), completeTimeout)
		defer cancel()
		q := url.Values{"limit": {"1000"}}
		if vsid, _, ok := strings.Cut(rest, "/"); ok && kind == "records" {
			q.Set("vsid", vsid)
		}
		_, _ = cl.List(ctx, kind, q, func(it api.Item) error {
			if strings.HasPrefix(it.Key, prefix) {
				found = append(found, it.Key)
			}
			if len(found) == mostCompletions {
				return context.Canceled
			}
			return nil
		})
		return found, cobra.ShellCompDirectiveNoFileComp
	}
}
