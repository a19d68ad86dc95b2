//go:build linux

package testbed

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// AdminSocket returns the path of the admin socket of a controller that runs
// with the testbed's settings.
func (t *Testbed) AdminSocket() string { return filepath.Join(t.dir, "admin.sock") }

// controllerSettings is what a controller has to know to drive the testbed.
type controllerSettings struct {
	Policy       string         `yaml:"policy"`
	AdminSocket  string         `yaml:"admin-socket"`
	Bridge       string         `yaml:"bridge"`
	DatapathType string         `yaml:"datapath-type"`
	Hosts        []hostSettings `yaml:"hosts"`
}

type hostSettings struct {
	Name     string `yaml:"name"`
	OVSDB    string `yaml:"ovsdb"`
	OpenFlow string `yaml:"openflow"`
}

// writeSettings writes the settings of a controller for this testbed.
func (t *Testbed) writeSettings() error {
	plan := t.state.Plan
	c := controllerSettings{
		Policy: plan.PolicyFile, AdminSocket: t.AdminSocket(),
		Bridge: IntegrationBridge, DatapathType: t.state.Datapath,
	}
	for _, h := range plan.Hosts {
		sw := t.Switch(h.Name)
		c.Hosts = append(c.Hosts, hostSettings{h.Name, "unix:" + sw.DBSock(), "unix:" + sw.MgmtSock(IntegrationBridge)})
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Settings of a controller for testbed %s; try:\n#   nvgre-ofctl controller --config %s\n", plan.Name, t.Settings())
	if err := yaml.NewEncoder(&b).Encode(&c); err != nil {
		return err
	}
	return os.WriteFile(t.Settings(), b.Bytes(), 0o644)
}
