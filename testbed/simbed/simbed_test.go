//go:build linux

package simbed_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/simbed"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// up builds a simulated testbed of copies of the example, for a test to change.
func up(t *testing.T) *simbed.Testbed {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"two-tenants.yaml", "two-tenants.policy.yaml"} {
		b, err := os.ReadFile(filepath.Join("../examples", name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	plan, err := topology.Load(filepath.Join(dir, "two-tenants.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	tb, err := simbed.Build(plan, filepath.Join(dir, "state"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return tb
}

// ping returns the matrix of the testbed as it stands in its state directory.
func ping(t *testing.T, tb *simbed.Testbed) (*testbed.Matrix, string) {
	t.Helper()
	tb, err := simbed.Open(filepath.Dir(tb.Inspect().StateDir), tb.Name())
	if err != nil {
		t.Fatal(err)
	}
	m, err := tb.Ping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	if err := m.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	return m, b.String()
}

func TestPingIsAsThePolicyWants(t *testing.T) {
	m, text := ping(t, up(t))
	if len(m.Pairs) != 72 || m.Differences != 0 || !strings.Contains(text, "72 of 72 as expected: 32 reachable, 40 isolated; 0 requests sent again") {
		t.Errorf("%d pairs, %d differences:\n%s", len(m.Pairs), m.Differences, text)
	}
}

func TestPingFindsWhatIsWrong(t *testing.T) {
	edit := func(old, new string) func(*testing.T, *simbed.Testbed) error {
		return func(t *testing.T, tb *simbed.Testbed) error {
			b, err := os.ReadFile(tb.Plan().PolicyFile)
			if err != nil {
				return err
			}
			if !bytes.Contains(b, []byte(old)) {
				t.Fatalf("the policy lacks %q", old)
			}
			return os.WriteFile(tb.Plan().PolicyFile, bytes.Replace(b, []byte(old), []byte(new), 1), 0o600)
		}
	}
	tests := []struct {
		name string
		do   func(*testing.T, *simbed.Testbed) error
		want string
		n    int // differences
	}{
		{"a MAC in the policy", edit("02:00:00:00:01:12", "02:00:00:00:01:21"), "nothing from blue-web2 reached blue-web1", 8},
		{"a VM on the wrong host", func(t *testing.T, tb *simbed.Testbed) error { return tb.Move(t.Context(), "blue/web2", "h3") },
			"nothing from blue-web1 reached blue-web2", 8},
		{"a VM's link", func(_ *testing.T, tb *simbed.Testbed) error { return tb.SetLink("blue/web2", false) },
			"nothing from blue-web1 reached blue-web2", 8},
		{"a host's link", func(_ *testing.T, tb *simbed.Testbed) error { return tb.SetLink("h3", false) },
			"nothing from blue-db1 reached blue-web1", 14},
		{"a VM gone and back", func(t *testing.T, tb *simbed.Testbed) error {
			return errors.Join(tb.Unplug(t.Context(), "blue/web2"), tb.Plug(t.Context(), "blue-web2", ""))
		}, "72 of 72", 0},
		{"a VM whose record lets it roam", func(t *testing.T, tb *simbed.Testbed) error { return tb.Move(t.Context(), "blue/db2", "h1") },
			"72 of 72", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tb := up(t)
			if err := tt.do(t, tb); err != nil {
				t.Fatal(err)
			}
			if m, text := ping(t, tb); m.Differences != tt.n || !strings.Contains(text, tt.want) {
				t.Errorf("%d differences, want %d and %q:\n%s", m.Differences, tt.n, tt.want, text)
			}
		})
	}
}

func TestStateIsOneDirectory(t *testing.T) {
	tb := up(t)
	root := filepath.Dir(tb.Inspect().StateDir)
	if _, err := simbed.Build(tb.Plan(), root, nil); err == nil || !strings.Contains(err.Error(), "testbed down") {
		t.Errorf("built twice: %v", err)
	}
	if all, err := simbed.List(root); err != nil || len(all) != 1 || all[0].Name() != "two-tenants" {
		t.Errorf("%v, %v", all, err)
	}
	if err := tb.Remove(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	var missing *testbed.NotFoundError
	if _, err := simbed.Open(root, tb.Name()); !errors.As(err, &missing) {
		t.Errorf("after Remove: %v", err)
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}
