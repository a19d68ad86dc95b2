package nvgreofctl_test

import (
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nvgre-ofctl/nvgre-ofctl"

// mayImport says which packages of this module a package may import, by their
// paths below the module. A path stands for itself and all below it. Tests may
// import testbed/ovstest and testbed/ovsproc besides.
//
// The longest entry that fits a package counts. The direction is that of
// docs/ARCHITECTURE.md: tenant <- flows <- controller <- cmd, ovsdb <- controller.
var mayImport = map[string][]string{
	"internal/heappace":   {},
	"internal/persist":    {},
	"internal/spelling":   {},
	"internal/unixsocket": {},
	"tenant":              {"tenant", "internal/persist"},
	"tenant/policyfile":   {"tenant", "internal"},
	"tenant/hnv":          {"tenant", "internal"},
	"flows/flow":          {},
	"flows/impact":        {"tenant", "flows"},
	"flows/verify":        {"tenant", "flows"},
	"flows":               {"tenant", "flows", "internal/persist"},
	"ovsdb":               {"tenant", "ovsdb"},
	"ovsdb/ovsaddr":       {},

	"controller":           {"tenant", "flows", "ovsdb", "controller"},
	"controller/openflow":  {"flows/flow"},
	"controller/settings":  {"ovsdb/ovsaddr", "internal"},
	"controller/reconcile": {"flows", "controller/openflow", "controller/flowset"},
	"controller/flowset":   {"flows/flow", "controller/openflow", "internal/persist"},
	"controller/calc":      {"tenant", "flows", "controller/openflow", "controller/flowset", "internal/persist"},
	"controller/store":     {"tenant", "controller/store"},
	"controller/ha":        {},
	"controller/api":       {"tenant", "internal", "controller/store", "controller/admin", "controller/api"},
	"controller/admin":     {"internal"},
	"controller/responder": {"tenant", "controller/responder"},
	"controller/punt":      {"tenant", "flows", "controller/openflow", "controller/responder"},

	// The testbed drives the product as a user does: it never reaches into it.
	// Save for the tests that hold a simulated host against the product's parts.
	"testbed":                  {"tenant", "testbed"},
	"testbed/fleet/crosscheck": {"tenant", "ovsdb", "testbed"},
	"testbed/ovsproc":          {},
	// It stands for a controller and switches, so it compiles and walks flows.
	"testbed/simbed":  {"tenant", "flows", "testbed"},
	"testbed/ovstest": {"testbed/ovsproc"},

	// Benchmarks of the whole drive it as a user does, too.
	"bench/rig":   {"tenant", "testbed/ovsproc"},
	"bench/ovn":   {"bench/rig", "testbed/ovsproc"},
	"bench/onevm": {"bench/rig"},
	"bench/scale": {"bench/rig", "controller/api/client", "controller/calc", "controller/flowset", "controller/openflow", "controller/reconcile", "controller/store", "flows", "tenant", "testbed/fleet", "testbed/fleet/ofswitch"},

	"cmd/nvgre-ofctl":            {"tenant", "flows", "ovsdb", "controller", "cmd", "internal"},
	"cmd/nvgre-ofctl/testbedcmd": {"tenant", "testbed"},
}

// standardOnly are packages that know nothing but the standard library and this
// module, with the exceptions given: a compiler and a domain have no business
// with anything that talks.
var standardOnly = map[string][]string{
	"tenant":            {},
	"tenant/policyfile": {"go.yaml.in/yaml/v3"},
	"tenant/hnv":        {},
	"flows":             {},
	"flows/flow":        {},
}

// forbidden are standard packages that would make a pure package impure.
var forbidden = map[string][]string{
	"flows":                {"os", "net", "time", "context", "net/http", "os/exec"},
	"flows/flow":           {"os", "net", "time", "context"},
	"tenant":               {"os", "net", "time", "context"},
	"tenant/hnv":           {"os", "net", "time", "context"},
	"controller/reconcile": {"net", "os"},
	"controller/calc":      {"os", "net", "time", "context"},
	"flows/impact":         {"os", "net", "time", "context"},
	"flows/verify":         {"os", "net", "time"},
}

type pkg struct {
	ImportPath, Name, Doc                        string
	Imports, TestImports, XTestImports           []string
	GoFiles, CgoFiles, TestGoFiles, XTestGoFiles []string
}

func packages(t *testing.T) []pkg {
	t.Helper()
	// The go command remembers the outcome of a test for as long as the files
	// that it looked at stay as they are. What go list reads it does not see.
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") {
			_, err = os.Stat(path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Name,Doc,Imports,TestImports,XTestImports,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles", "./...")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v: %s", err, stderr.String())
	}
	var ps []pkg
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return ps
		} else if err != nil {
			t.Fatal(err)
		}
		ps = append(ps, p)
	}
}

// below returns a package's path below the module; ok is false for foreign ones.
func below(path string) (string, bool) {
	if path == module {
		return "", true
	}
	return strings.CutPrefix(path, module+"/")
}

func covers(prefix, path string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func rule(path string) (allowed []string, found bool) {
	best := ""
	for p, a := range mayImport {
		if covers(p, path) && len(p) >= len(best) {
			best, allowed, found = p, a, true
		}
	}
	return allowed, found
}

func TestImportDirections(t *testing.T) {
	for _, p := range packages(t) {
		path, _ := below(p.ImportPath)
		if path == "" {
			continue // this test's package
		}
		allowed, found := rule(path)
		if !found {
			t.Errorf("package %s has no rule: say in layout_test.go what it may import", path)
			continue
		}
		check := func(imports []string, more ...string) {
			for _, i := range imports {
				imp, ours := below(i)
				if !ours || imp == path {
					continue
				}
				if !slices.ContainsFunc(append(slices.Clone(allowed), more...), func(a string) bool { return covers(a, imp) }) {
					t.Errorf("package %s imports %s: the direction is tenant <- flows <- controller <- cmd, ovsdb <- controller (docs/ARCHITECTURE.md)", path, imp)
				}
			}
		}
		check(p.Imports)
		for _, i := range slices.Concat(p.TestImports, p.XTestImports) {
			// Tests of what reads a policy, or compiles one, may use all that is below.
			check([]string{i}, "testbed/ovstest", "testbed/ovsproc", "tenant")
		}
	}
}

func TestPurePackages(t *testing.T) {
	for _, p := range packages(t) {
		path, _ := below(p.ImportPath)
		for _, bad := range forbidden[path] {
			if slices.Contains(p.Imports, bad) {
				t.Errorf("package %s imports %s: it is pure, no input, no output, no clock", path, bad)
			}
		}
		also, only := standardOnly[path]
		if !only {
			continue
		}
		for _, i := range p.Imports {
			if _, ours := below(i); ours || slices.Contains(also, i) {
				continue
			}
			if first, _, _ := strings.Cut(i, "/"); strings.Contains(first, ".") {
				t.Errorf("package %s imports %s: want the standard library", path, i)
			}
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles)+len(p.CgoFiles) == 0 {
			continue // tests alone
		}
		want := "Package " + p.Name + " "
		if p.Name == "main" {
			want = "Command "
		}
		if !strings.HasPrefix(p.Doc, want) {
			t.Errorf("%s has no doc comment that begins %q", p.ImportPath, want)
		}
	}
}

// A rule that fits no package is a leftover.
func TestRulesAreUsed(t *testing.T) {
	ps := packages(t)
	for r := range mayImport {
		if !slices.ContainsFunc(ps, func(p pkg) bool { path, _ := below(p.ImportPath); return path == r }) {
			t.Errorf("there is no package %s: remove its rule", r)
		}
	}
}
