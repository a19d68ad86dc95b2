//go:build linux

package testbed

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/topology"
)

// Inspection describes a testbed for programs and people.
type Inspection struct {
	Name     string           `json:"name"`
	Phase    string           `json:"phase"`
	Created  time.Time        `json:"created"`
	StateDir string           `json:"state_dir"`
	Datapath string           `json:"datapath"` // netdev, system or sim
	Topology string           `json:"topology_file"`
	Policy   string           `json:"policy_file"`
	Settings string           `json:"controller_settings"`
	Underlay UnderlayInfo     `json:"underlay"`
	Hosts    []HostInspection `json:"hosts"`
	VMs      []VMInspection   `json:"vms"`
}

// UnderlayInfo describes the underlay.
type UnderlayInfo struct {
	Namespace string         `json:"namespace"`
	MTU       int            `json:"mtu"`
	Subnets   []SubnetInfo   `json:"subnets"`
	Capture   []CapturePoint `json:"capture_points"`
}

// SubnetInfo describes one layer-2 segment of the underlay.
type SubnetInfo struct {
	Name      string `json:"name"`
	Prefix    string `json:"prefix"`
	Bridge    string `json:"bridge"` // a device in the underlay's namespace
	Router    string `json:"router,omitempty"`
	RouterMAC string `json:"router_mac,omitempty"`
	Prefix6   string `json:"prefix6,omitempty"` // of IPv6, where the segment has both families
	Router6   string `json:"router6,omitempty"`
	VLAN      uint16 `json:"vlan,omitempty"` // tag of all frames in the segment
}

// CapturePoint is a device where frames can be seen.
type CapturePoint struct {
	Name      string `json:"name"`
	Namespace string `json:"namespace"`
	Device    string `json:"device"`
}

// HostInspection describes one host.
type HostInspection struct {
	Name        string   `json:"name"`
	Namespace   string   `json:"namespace"`
	RunDir      string   `json:"ovs_run_dir"`
	OVSDB       string   `json:"ovsdb"`    // OVS address syntax
	OpenFlow    string   `json:"openflow"` // OVS address syntax
	OVSDBPid    string   `json:"ovsdb_pid_file"`
	VswitchdPid string   `json:"vswitchd_pid_file"`
	PAs         []string `json:"provider_addresses"`
	Subnet      string   `json:"subnet"`
	MAC         string   `json:"mac"`           // of br-phy, which has the provider addresses
	Port        string   `json:"underlay_port"` // the underlay's end of the uplink
	LinkUp      bool     `json:"link_up"`       // with two, one of them
	Port2       string   `json:"underlay_port2,omitempty"`
}

// VMInspection describes one VM.
type VMInspection struct {
	IfaceID   string   `json:"iface_id"`
	Namespace string   `json:"namespace"`
	Host      string   `json:"host"`
	Domain    string   `json:"routing_domain"`
	RDID      string   `json:"rdid"`
	VM        string   `json:"vm"`
	VSID      uint32   `json:"vsid"`
	CA        string   `json:"ca"` // the first of addresses
	Addresses []string `json:"addresses"`
	Gateways  []string `json:"gateways"`
	MAC       string   `json:"mac"`
	Port      string   `json:"port"` // on br-int of the host
	LinkUp    bool     `json:"link_up"`
}

// Inspect describes the testbed as it is now.
func (t *Testbed) Inspect() *Inspection {
	plan := t.Plan()
	in := &Inspection{
		Name: plan.Name, Phase: t.Phase(), Created: t.Created(), StateDir: t.dir, Datapath: t.Datapath(),
		Topology: plan.TopologyFile, Policy: plan.PolicyFile, Settings: t.Settings(),
		Underlay: UnderlayInfo{Namespace: t.UnderlayNamespace(), MTU: plan.MTU},
	}
	for _, s := range plan.Subnets {
		si := SubnetInfo{Name: s.Name, Prefix: s.Prefix.String(), Bridge: UnderlayBridge(s.Name)}
		if s.Router.IsValid() {
			si.Router, si.RouterMAC = s.Router.String(), t.routerMAC(&s).String()
		}
		if s.Prefix6.IsValid() {
			si.Prefix6 = s.Prefix6.String()
		}
		if s.Router6.IsValid() {
			si.Router6, si.RouterMAC = s.Router6.String(), t.routerMAC(&s).String()
		}
		si.VLAN = s.VLAN
		in.Underlay.Subnets = append(in.Underlay.Subnets, si)
		in.Underlay.Capture = append(in.Underlay.Capture, CapturePoint{s.Name, in.Underlay.Namespace, si.Bridge})
	}
	for _, h := range plan.Hosts {
		sw := t.Switch(h.Name)
		up, _ := t.LinkUp(h.Name) // a broken testbed is described as far as it is there
		hi := HostInspection{
			Name: h.Name, Namespace: t.HostNamespace(h.Name), RunDir: sw.Dir(),
			OVSDB: "unix:" + sw.DBSock(), OpenFlow: "unix:" + sw.MgmtSock(IntegrationBridge),
			OVSDBPid: sw.OVSDBPidFile(), VswitchdPid: sw.VswitchdPidFile(),
			Subnet: h.Subnet, MAC: t.hostMAC(h.Name).String(), Port: UnderlayPort(h.Name), LinkUp: up,
		}
		if links := t.uplinks(h.Name); len(links) > 1 {
			hi.Port2 = links[1][1]
			up2, _ := t.LinkUp(h.Name + ":2")
			hi.LinkUp = up || up2
		}
		for _, pa := range h.PAs {
			hi.PAs = append(hi.PAs, pa.Addr().String())
		}
		in.Hosts = append(in.Hosts, hi)
	}
	for _, v := range plan.VMs {
		up, _ := t.LinkUp(v.IfaceID)
		vi := DescribeVM(&v, up)
		vi.Namespace, vi.Port = t.VMNamespace(v.IfaceID), VMPort(v.IfaceID)
		in.VMs = append(in.VMs, vi)
	}
	return in
}

// DescribeVM describes a VM by its plan, without its namespace and port.
func DescribeVM(v *topology.VM, linkUp bool) VMInspection {
	vi := VMInspection{
		IfaceID: v.IfaceID, Host: v.Host, Domain: v.Domain, RDID: v.RDID.String(), VM: v.Name,
		VSID: uint32(v.VSID), CA: v.CA().String(), MAC: v.MAC.String(), LinkUp: linkUp,
	}
	for _, a := range v.Addresses {
		vi.Addresses = append(vi.Addresses, a.String())
	}
	for _, g := range v.Gateways {
		vi.Gateways = append(vi.Gateways, g.String())
	}
	return vi
}

// WriteTable writes the description for people.
func (in *Inspection) WriteTable(w io.Writer) error {
	fmt.Fprintf(w, "testbed %s (%s), datapath %s, state in %s\n", in.Name, in.Phase, in.Datapath, in.StateDir)
	if in.Settings != "" {
		fmt.Fprintf(w, "controller settings: %s\n", in.Settings)
	}
	fmt.Fprintln(w)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "UNDERLAY\tPREFIX\tROUTER\tBRIDGE\tNAMESPACE")
	for _, s := range in.Underlay.Subnets {
		prefix, router := s.Prefix, orDash(s.Router)
		if s.Prefix6 != "" {
			prefix, router = prefix+","+s.Prefix6, router+","+orDash(s.Router6)
		}
		if s.VLAN != 0 {
			prefix += fmt.Sprintf(" VLAN %d", s.VLAN)
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", s.Name, prefix, router, orDash(s.Bridge), orDash(in.Underlay.Namespace))
	}
	fmt.Fprintln(tw, "\t\t\t\t\nHOST\tPROVIDER ADDRESS\tSUBNET\tLINK\tNAMESPACE\tRUN DIRECTORY")
	for _, h := range in.Hosts {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", h.Name, joinText(h.PAs), h.Subnet, upDown(h.LinkUp), orDash(h.Namespace), orDash(h.RunDir))
	}
	fmt.Fprintln(tw, "\t\t\t\t\nVM\tTENANT\tHOST\tVSID\tADDRESS\tMAC\tLINK\tNAMESPACE")
	for _, v := range in.VMs {
		fmt.Fprintf(tw, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\n", v.IfaceID, v.Domain, v.Host, v.VSID, joinText(v.Addresses), v.MAC, upDown(v.LinkUp), orDash(v.Namespace))
	}
	return tw.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func upDown(up bool) string {
	if up {
		return "up"
	}
	return "down"
}

func joinText(all []string) string { return orDash(strings.Join(all, ",")) }
