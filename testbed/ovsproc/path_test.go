package ovsproc

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
)

// chroot is what every Linux has, and only where a user's PATH does not lead.
func TestSystemCommandsAreFoundWithoutPATH(t *testing.T) {
	for _, path := range []string{"", t.TempDir()} {
		t.Setenv("PATH", path)
		if out, err := New(t.TempDir()).Run(t.Context(), "chroot", "--help"); err != nil || !strings.Contains(out, "chroot") {
			t.Errorf("PATH=%q: %q, %v", path, out, err)
		}
		// So it is for what a command runs.
		if out, err := New(t.TempDir()).Run(t.Context(), "/bin/sh", "-c", "chroot --help"); err != nil || !strings.Contains(out, "chroot") {
			t.Errorf("PATH=%q: by a shell: %q, %v", path, out, err)
		}
		for _, name := range []string{"nvgre-no-such-command", "./chroot", ""} {
			if p, err := LookPath(name); err == nil {
				t.Errorf("PATH=%q: %q found: %s", path, name, p)
			}
		}
		if _, err := LookPath("nvgre-no-such-command"); !errors.Is(err, exec.ErrNotFound) {
			t.Errorf("PATH=%q: %v", path, err)
		}
	}
}
