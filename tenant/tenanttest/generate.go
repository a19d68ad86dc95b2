package tenanttest

import (
	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/internal/tenantgen"
)

// Spec draws a sound spec of a few hosts and routing domains.
func Spec(t *rapid.T) tenant.Spec { return tenantgen.Spec(t) }

// Changes draws changes of p, many of them sound, many in conflict with p or with
// one another. Some of the objects come from other, a policy of [Spec] too.
func Changes(t *rapid.T, p, other *tenant.Policy) []tenant.Change {
	return tenantgen.Changes(t, p, other)
}
