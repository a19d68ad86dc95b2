package tenanttest

import (
	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/internal/tenantgen"
)

// forwarded is what the flows do. Who adds flows for more adds it here.
const forwarded = tenantgen.Underlay | tenantgen.Services | tenantgen.Options |
	tenantgen.SubnetRoutes | tenantgen.BlackHoles | tenantgen.ECMP

// Spec draws a sound spec of a few hosts and routing domains, of what the flows
// do.
func Spec(t *rapid.T) tenant.Spec { return tenantgen.SpecWith(t, forwarded) }

// Changes draws changes of p, many of them sound, many in conflict with p or with
// one another. Some of the objects come from other, a policy of [Spec] too.
func Changes(t *rapid.T, p, other *tenant.Policy) []tenant.Change {
	return tenantgen.Changes(t, p, other)
}
