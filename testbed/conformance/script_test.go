package conformance

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func badScript(t *testing.T, n *Network) {
	dir := t.TempDir()
	script, out := filepath.Join(dir, "bad.ps1"), filepath.Join(dir, "policy.yaml")
	text := "$pa = \"192.168.4.11\"\n" +
		"New-NetVirtualizationLookupRecord -CustomerAddress \"10.0.0.999\" -ProviderAddress $pa -VirtualSubnetID 5001 -MACAddress \"060600000005\" -Rule \"TranslationMethodEncap\"\n" +
		"New-NetVirtualizationLookupRecord -CustomerAddress \"10.0.0.5\"\n"
	if err := os.WriteFile(script, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	stdout, errs, code := n.CLI("import", "hnv", script, "-o", out)
	if code == 0 || !strings.Contains(errs+stdout, "bad.ps1:2") || !strings.Contains(errs+stdout, "bad.ps1:3") {
		t.Errorf("import hnv exits with %d and says\n%s%s", code, stdout, errs)
	}
	if _, err := os.Stat(out); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s: %v, want it not to be there", out, err)
	}
}
