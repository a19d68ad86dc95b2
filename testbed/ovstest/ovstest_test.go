package ovstest_test

import (
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

func TestSwitchRunsAndCrashesAndRuns(t *testing.T) {
	ctx := t.Context()
	s := ovstest.Start(t)
	if _, err := s.Vsctl(ctx, "add-br", "br-int", "--", "set", "bridge", "br-int", "fail_mode=secure"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Ofctl(ctx, "add-flow", "br-int", "table=3,priority=7 actions=drop"); err != nil {
		t.Fatal(err)
	}
	if err := s.KillVswitchd(); err != nil {
		t.Fatal(err)
	}
	if err := s.StartVswitchd(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := s.Ofctl(ctx, "dump-flows", "br-int")
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(out, "table=3") {
		t.Errorf("a crash of vswitchd kept the flow:\n%s", out)
	}
}

func TestAppctlFindsTheSwitchByItsDirectory(t *testing.T) {
	s := ovstest.Start(t)
	for range 2 { // also after a restart, with another process id
		if out, err := s.Run(t.Context(), "ovs-appctl", "version"); err != nil || !strings.Contains(out, "ovs-vswitchd") {
			t.Errorf("ovs-appctl without a target: %q, %v", out, err)
		}
		if err := s.KillVswitchd(); err != nil {
			t.Fatal(err)
		}
		if err := s.StartVswitchd(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
}
