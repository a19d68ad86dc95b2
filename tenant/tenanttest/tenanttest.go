// Package tenanttest makes policies for tests.
package tenanttest

import (
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// New returns spec as a policy of revision 1 and ends the test where spec is none.
func New(tb testing.TB, spec tenant.Spec) *tenant.Policy {
	tb.Helper()
	p, problems := tenant.New(spec, 1)
	for _, problem := range problems {
		tb.Error(problem)
	}
	if len(problems) > 0 {
		tb.FailNow()
	}
	return p
}
