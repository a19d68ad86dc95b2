package fleet

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Files are the files of a fleet.
type Files struct {
	Policy      string `json:"policy"`
	Settings    string `json:"settings"`     // for nvgre-ofctl controller --config
	AdminSocket string `json:"admin_socket"` // of that controller
}

// Files returns where [Fleet.WriteFiles] writes.
func (f *Fleet) Files() Files {
	return Files{
		Policy: filepath.Join(f.dir, "policy.yaml"), Settings: filepath.Join(f.dir, "nvgre.yaml"),
		AdminSocket: filepath.Join(f.dir, "admin.sock"),
	}
}

// WriteFiles writes the policy and the settings of a controller for the fleet
// into its directory.
func (f *Fleet) WriteFiles() (Files, error) {
	files := f.Files()
	if err := writeFile(files.Policy, f.layout.WritePolicy); err != nil {
		return files, err
	}
	return files, writeFile(files.Settings, func(w io.Writer) error {
		fmt.Fprintf(w, "# Settings of a controller for a simulated fleet; try:\n#   nvgre-ofctl controller --config %s\npolicy: %s\nadmin-socket: %s\n", files.Settings, files.Policy, files.AdminSocket)
		return f.WriteHosts(w)
	})
}

// WriteHosts writes the part of a settings file that says how to reach the hosts.
func (f *Fleet) WriteHosts(to io.Writer) error {
	w := bufio.NewWriter(to)
	fmt.Fprintf(w, "bridge: %s\nhosts:\n", f.bridge)
	for _, h := range f.hosts {
		fmt.Fprintf(w, "  - {name: %s, ovsdb: %q, openflow: %q}\n", h.name, h.OVSDB(), h.OpenFlow())
	}
	return w.Flush()
}

func writeFile(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if err := write(f); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return f.Close()
}
