package flows_test

import (
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant/policyfile"
)

var update = flag.Bool("update", false, "write the golden files anew")

// load reads a policy of testdata.
func load(t testing.TB, name string) *tenant.Policy {
	t.Helper()
	p, err := policyfile.Load(filepath.Join("testdata", name), 1)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, path, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (go test ./flows -update writes it)", err)
	}
	if string(want) != got {
		t.Errorf("%s differs; if that is wanted, write it anew with go test ./flows -update\n%s", path, firstDifference(string(want), got))
	}
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func writeFile(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
