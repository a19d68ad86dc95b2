package policyfile_test

import (
	"errors"
	"os"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

// FuzzParse checks that any input gives a policy or problems with places in the
// file, and that a policy survives being written and read.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"testdata/policy.yaml", "testdata/hnv-blue-red.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	base := baseFile(f)
	for _, cases := range [][]badCase{formCases, meaningCases} {
		for i, c := range cases {
			if c.edits == nil {
				f.Add([]byte(c.file))
			} else if i%8 == 0 {
				f.Add([]byte(c.apply(base)))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := policyfile.Parse("p.yaml", data, 1)
		if err != nil {
			var e *policyfile.Error
			if !errors.As(err, &e) || len(e.Problems) == 0 || p != nil {
				t.Fatalf("policy %v, error %T %v", p, err, err)
			}
			line := 1
			for _, problem := range e.Problems {
				if problem.Position.Line < line || problem.Position.Column < 1 || problem.Message == "" {
					t.Fatalf("problem without a place or out of order: %s", problem)
				}
				line = problem.Position.Line
			}
			return
		}
		out, err := policyfile.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		q, err := policyfile.Parse("out.yaml", out, 1)
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if !p.Equal(q) {
			t.Fatalf("differs after Marshal:\n%s", out)
		}
	})
}
