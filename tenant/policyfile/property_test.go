package policyfile_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/internal/tenantgen"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// TestWriteAndRead checks that every policy survives its file.
func TestWriteAndRead(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, problems := tenant.New(tenantgen.Spec(t), 3)
		if len(problems) > 0 {
			t.Fatalf("the generated spec has problems: %v", problems)
		}
		data, err := policyfile.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := policyfile.Parse("out.yaml", data, 3)
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if !p.Equal(q) || q.Revision() != p.Revision() {
			t.Fatalf("the policy differs after a file:\n%s", data)
		}
	})
}
