package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImportAndExport(t *testing.T) {
	out := filepath.Join(t.TempDir(), "policy.yaml")
	sample, gateway := "../../tenant/hnv/testdata/two-node.ps1", "../../tenant/hnv/testdata/gateway.ps1"

	if _, stderr, code := ofctl(t, "import", "hnv", sample, "--strict", "-o", out); code != 0 || !strings.Contains(stderr, "two-node.ps1:14:5: skipped: write-host") {
		t.Fatalf("code %d: %s", code, stderr)
	}
	if stdout, stderr, code := ofctl(t, "validate", out); code != 0 || !strings.Contains(stdout, "2 hosts, 2 routing domains, 2 subnets, 4 records") {
		t.Fatalf("code %d: %s%s", code, stdout, stderr)
	}
	script := file(t, "deploy.ps1", "")
	if stdout, stderr, code := ofctl(t, "export", "hnv", "-f", out, "-o", script, "--strict"); code != 0 || stdout != "" {
		t.Fatalf("code %d: %s%s", code, stdout, stderr)
	}
	want, _ := os.ReadFile(out)
	if stdout, stderr, code := ofctl(t, "import", "hnv", script, "-q"); code != 0 || stdout != string(want) || stderr != "" {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}

	// What fails leaves the file as it is.
	text, _ := os.ReadFile(gateway)
	lossy := file(t, "lossy.ps1", string(text)+"\nNew-NetVirtualizationLookupRecord -CustomerAddress 10.0.1.9 -VirtualSubnetID 7000 -MACAddress 00155DE2AB55 -ProviderAddress 192.168.0.22 -Rule TranslationMethodNone -CimSession $sessions\n")
	if _, stderr, code := ofctl(t, "import", "hnv", lossy, "--strict", "-o", out); code != codeInput || !strings.Contains(stderr, "not carried over: record of CA 10.0.1.9") {
		t.Errorf("code %d: %s", code, stderr)
	}
	bad := file(t, "bad.ps1", "Write-Host 'x'\nNew-NetVirtualizationCustomerRoute -NextHop 10.0.0\n")
	if stdout, stderr, code := ofctl(t, "import", "hnv", bad, "-o", out); code != codeInput || stdout != "" || !strings.Contains(stderr, `bad.ps1:2:36: -nexthop: "10.0.0" is no address`) {
		t.Errorf("code %d: %s%s", code, stdout, stderr)
	}
	if got, _ := os.ReadFile(out); string(got) != string(want) {
		t.Errorf("the file is another one:\n%s", got)
	}
	for _, args := range [][]string{{"import", "hnv"}, {"export", "hnv"}, {"import", "x"}, {"import", "hnv", sample, "--no"}} {
		if _, stderr, code := ofctl(t, args...); code != codeUsage {
			t.Errorf("%q: code %d: %s", args, code, stderr)
		}
	}
	if _, stderr, code := ofctl(t, "import", "hnv", "no-such.ps1"); code != codeInput {
		t.Errorf("code %d: %s", code, stderr)
	}
}
