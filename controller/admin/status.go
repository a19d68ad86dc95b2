package admin

import (
	"fmt"
	"strings"
	"time"
)

// Status is the whole daemon at one moment, as /v1/status shows it.
type Status struct {
	Version  string    `json:"version"`
	PID      int       `json:"pid"`
	Started  time.Time `json:"started"`
	Name     string    `json:"name"`     // of the controller, among others of one store
	Settings string    `json:"settings"` // the file; "" where there was none

	// Ready says that a policy is in force and every reachable host holds it;
	// Missing says what is lacking otherwise, one sentence each.
	Ready   bool     `json:"ready"`
	Missing []string `json:"missing"`
	// Healthy says that Trouble is empty: all that an operator should see to,
	// one sentence each. Unlike Ready it also takes a host that cannot be
	// reached, a refused policy file and a refused flow for trouble.
	Healthy bool     `json:"healthy"`
	Trouble []string `json:"trouble"`

	// Problems are those of the policy and the settings as a whole.
	Problems []string `json:"problems"`

	Policy Policy `json:"policy"`
	// Store is nil where the policy comes from a file.
	Store       *Store       `json:"store,omitempty"`
	Hosts       []Host       `json:"hosts"`       // by name
	Attachments []Attachment `json:"attachments"` // by host, then iface-id
	// Drift is what others did to the hosts' flows, the last of it, oldest first.
	Drift []Drift `json:"drift"`
	// Elsewhere are the hosts that other controllers of the store drive, by name.
	Elsewhere []Elsewhere `json:"elsewhere,omitempty"`
}

// Store is the store that holds the policy.
type Store struct {
	Connected bool     `json:"connected"` // etcd answers, with a quorum
	Error     string   `json:"error"`
	Frozen    bool     `json:"frozen"`   // this controller's lease is not certain: it writes to no host
	Revision  uint64   `json:"revision"` // the newest in etcd
	Staging   string   `json:"staging"`  // who is at a large apply; "" for nobody
	Size      int64    `json:"size"`     // of etcd's database in octets
	Members   []Member `json:"members"`
}

// Member is a member of etcd.
type Member struct {
	Name   string   `json:"name"`
	URLs   []string `json:"urls"`
	Leader bool     `json:"leader"`
}

// Elsewhere is a host that another controller drives.
type Elsewhere struct {
	Name       string `json:"name"`
	Controller string `json:"controller"` // "" while none does
	// Status is what that controller has told of it, without numbers of flows
	// and times; nil: nothing yet.
	Status *Host `json:"status,omitempty"`
}

// Policy is the policy in force and what became of the last attempt to read
// another.
type Policy struct {
	File     string    `json:"file"`
	Revision uint64    `json:"revision"` // milliseconds since 1970, strictly increasing; 0: none in force
	Loaded   time.Time `json:"loaded"`   // when the one in force was
	Domains  int       `json:"routing_domains"`
	Subnets  int       `json:"subnets"`
	Records  int       `json:"records"`
	// Unattached counts the records whose VM no host that has answered reports;
	// Absent names the first of them.
	Unattached int      `json:"unattached"`
	Absent     []Absent `json:"absent"`
	// Error is why the file as it is now was refused; "" when it is in force.
	Error   string    `json:"error"`
	ErrorAt time.Time `json:"error_at"`
}

// Absent is a VM of the policy that no host of this daemon reports.
type Absent struct {
	RoutingDomain string `json:"routing_domain"`
	VM            string `json:"vm"`
	IfaceID       string `json:"iface_id"`
	Host          string `json:"host"` // where the policy puts it; "" where it does not say
}

// Host is one host that the daemon drives.
type Host struct {
	Name     string  `json:"name"`
	OVSDB    Channel `json:"ovsdb"`
	OpenFlow Channel `json:"openflow"`

	// Waiting: the host has not answered since the daemon started, and the
	// placement grace is not over. It counts as reachable.
	Waiting bool `json:"waiting"`

	OVSVersion string `json:"ovs_version"`
	SystemID   string `json:"system_id"`

	InSync            bool      `json:"in_sync"`            // the switch has confirmed the wanted revision
	RevisionWanted    uint64    `json:"revision_wanted"`    // 0: nothing is wanted yet
	RevisionInstalled uint64    `json:"revision_installed"` // confirmed by the switch
	LagSeconds        float64   `json:"lag_seconds"`        // for how long it has not held all that is wanted
	FlowsWanted       int       `json:"flows_wanted"`
	FlowsInstalled    int       `json:"flows_installed"` // ours
	FlowsForeign      int       `json:"flows_foreign"`   // somebody else's, never touched
	FlowsKept         int       `json:"flows_kept"`      // stale, kept until a silent host has answered
	LastSync          time.Time `json:"last_sync"`
	LastSyncSeconds   float64   `json:"last_sync_seconds"`

	Monitored      bool     `json:"monitored"`       // the switch tells at once what others do to its flows
	FlowsShadowing int      `json:"flows_shadowing"` // foreign flows over ours
	Shadows        []Shadow `json:"shadows"`         // the first of them

	FlowsRefused int       `json:"flows_refused"`
	Refused      []Refusal `json:"refused"` // the first of them
	Problems     []string  `json:"problems"`
}

// Drift is something that another than the daemon did to a host's flows.
type Drift struct {
	Time  time.Time `json:"time"`
	Host  string    `json:"host"`
	Kind  string    `json:"kind"` // deleted, changed, added, shadowed, or fought: again and again
	Flow  string    `json:"flow"`
	Owner string    `json:"owner"`
	Note  string    `json:"note"`
	// RepairedSeconds is from the first sign to the switch's confirmation; 0: there is
	// nothing to repair.
	RepairedSeconds float64 `json:"repaired_seconds"`
	More            int     `json:"more"` // of this kind at this time
}

// Shadow is a foreign flow that takes packets from one of ours.
type Shadow struct {
	Flow  string `json:"flow"`
	Over  string `json:"over"`
	Owner string `json:"owner"` // of the flow below
}

// Channel is one of the two connections to a host.
type Channel struct {
	Address   string `json:"address"`
	Connected bool   `json:"connected"`
	Error     string `json:"error"`
	Hint      string `json:"hint"` // what the error most likely means and what to do; may be ""
}

// problem says what is wrong with a channel that is not connected.
func (c *Channel) problem() string {
	// The address is there already.
	text := strings.ReplaceAll(c.Error, "connecting to "+c.Address+": ", "")
	if c.Hint != "" {
		text += ": " + c.Hint
	}
	return text
}

// Refusal is a wanted flow that a switch does not hold.
type Refusal struct {
	Owner string `json:"owner"`
	Flow  string `json:"flow"`
	Error string `json:"error"`
}

// Attachment is a VM's port on a host.
type Attachment struct {
	Host string `json:"host"`
	// Controller that drives the host, where it is another; then Interface and
	// OFPort are not known here.
	Controller    string `json:"controller,omitempty"`
	IfaceID       string `json:"iface_id"`
	Interface     string `json:"interface"`
	OFPort        uint32 `json:"ofport"`
	RoutingDomain string `json:"routing_domain"` // "" where no record has the iface-id
	VM            string `json:"vm"`
	CA            string `json:"ca"`
	VSID          uint32 `json:"vsid"`
	// Installed: every flow for the VM is in place on every host that needs it.
	Installed bool   `json:"installed"`
	Problem   string `json:"problem"`
}

// Judge sets Ready, Missing, Healthy and Trouble from the rest.
func (s *Status) Judge() {
	s.Missing, s.Trouble = []string{}, []string{}
	missing := func(format string, args ...any) { s.Missing = append(s.Missing, fmt.Sprintf(format, args...)) }
	trouble := func(format string, args ...any) { s.Trouble = append(s.Trouble, fmt.Sprintf(format, args...)) }

	if s.Policy.Revision == 0 {
		missing("no policy is in force")
	}
	switch {
	case s.Policy.Error == "":
	case s.Store != nil:
		trouble("the store: %s", s.Policy.Error)
	default:
		trouble("the policy file is refused, the version before it stays in force: %s", s.Policy.Error)
	}
	if s.Store != nil && s.Store.Frozen {
		trouble("etcd does not answer this controller: changes of its hosts are frozen, forwarding goes on")
	}
	s.Trouble = append(s.Trouble, s.Problems...)
	hosts := make([]*Host, 0, len(s.Hosts)+len(s.Elsewhere))
	for i := range s.Hosts {
		hosts = append(hosts, &s.Hosts[i])
	}
	for i := range s.Elsewhere {
		switch e := &s.Elsewhere[i]; {
		case e.Controller == "":
			missing("host %s: no controller drives it", e.Name)
		case e.Status == nil:
			missing("host %s: its controller %s has told nothing of it yet", e.Name, e.Controller)
		default:
			hosts = append(hosts, e.Status)
		}
	}
	for _, h := range hosts {
		if !h.OVSDB.Connected {
			trouble("host %s: OVSDB at %s: %s", h.Name, h.OVSDB.Address, h.OVSDB.problem())
		}
		if !h.OpenFlow.Connected {
			trouble("host %s: OpenFlow at %s: %s", h.Name, h.OpenFlow.Address, h.OpenFlow.problem())
		}
		reachable := h.OVSDB.Connected || h.OpenFlow.Connected
		switch {
		case h.Waiting:
			missing("host %s: has not answered yet", h.Name)
		case h.InSync || !reachable || s.Policy.Revision == 0:
		case !h.OpenFlow.Connected:
			missing("host %s: its switch does not answer, its OVSDB does", h.Name)
		case h.RevisionWanted == 0:
			missing("host %s: waiting for hosts to report their attachments", h.Name)
		default:
			missing("host %s: revision %d is on its way, %d is in place", h.Name, h.RevisionWanted, h.RevisionInstalled)
		}
		if h.FlowsRefused > 0 && len(h.Refused) > 0 {
			trouble("host %s: %d flows are not in place, such as that of %s: %s", h.Name, h.FlowsRefused, h.Refused[0].Owner, h.Refused[0].Error)
		}
		if h.FlowsShadowing > 0 && len(h.Shadows) > 0 {
			trouble("host %s: %d foreign flows take packets from ours, such as %s from that of %s: remove it with ovs-ofctl, or let its owner use another table or a lower priority",
				h.Name, h.FlowsShadowing, h.Shadows[0].Flow, h.Shadows[0].Owner)
		}
		for _, p := range h.Problems {
			trouble("host %s: %s", h.Name, p)
		}
	}
	for i := range s.Attachments {
		switch a := &s.Attachments[i]; {
		case a.Problem == "":
		case a.Controller != "":
			trouble("host %s: attachment %s: %s", a.Host, a.IfaceID, a.Problem)
		default:
			trouble("host %s: attachment %s (%s): %s", a.Host, a.IfaceID, a.Interface, a.Problem)
		}
	}
	s.Ready = len(s.Missing) == 0
	s.Healthy = s.Ready && len(s.Trouble) == 0
}
