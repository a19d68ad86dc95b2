package settings

import (
	"log/slog"
	"time"
)

// Settings is how one controller daemon runs. It is a plain value: once read it
// does not change while the daemon lives.
type Settings struct {
	// File is the absolute path of the file that was read, "" where there was none.
	File string

	Policy      string // the policy file; absolute; "": policy lives in the store
	AdminSocket string // absolute
	APISocket   string // absolute
	API         API
	Log         Log
	Name        string // the controller's, among others of one store
	Lease       time.Duration
	Store       Store

	Bridge       string
	AdoptBridge  bool
	DatapathType string // "" leaves it to the switch
	TunnelPort   string
	PortMode     PortMode
	FlowID       bool
	Role         Role
	TLS          TLS
	Hosts        []Host // by name

	PlacementGrace time.Duration
	Linger         time.Duration // 0: not at all
	ReconnectMax   time.Duration
	PuntRate       uint32        // packets a second
	PuntBurst      uint32        // packets
	AuditInterval  time.Duration // 0: never
	ApplyTimeout   time.Duration
	PolicySettle   time.Duration

	// Warnings are what looks wrong but stops nothing, one sentence each.
	Warnings []string
}

// Log says what is logged, and how.
type Log struct {
	Level  slog.Level
	Format string // text or json
}

// TLS names the files of a mutual TLS identity. All are empty where no
// endpoint is reached by ssl.
type TLS struct{ CA, Certificate, PrivateKey string }

// IsZero reports whether no TLS identity is set.
func (t TLS) IsZero() bool { return t == TLS{} }

// PortMode says how tunnel ports are made.
type PortMode string

// The port modes.
const (
	FlowPort    PortMode = "flow"     // one port, every flow names its peer
	PortPerVSID PortMode = "per-vsid" // one more port for every virtual subnet
)

// Role is the OpenFlow controller role that is claimed before the first write
// (OpenFlow 1.3.5 section 6.3.6).
type Role string

// The roles.
const (
	Master Role = "master" // fences an older controller off
	Equal  Role = "equal"  // claims nothing
)

// Host says how one host is reached. Empty addresses leave those of the policy
// in force.
type Host struct {
	Name     string
	OVSDB    string // OVS address syntax: unix:PATH, tcp:IP:PORT, ssl:IP:PORT
	OpenFlow string
	Listener string // passive listener for the bridge: "", ptcp:… or pssl:…
}

// Host returns how the host of that name is reached, where the settings say so.
func (s *Settings) Host(name string) (Host, bool) {
	for _, h := range s.Hosts {
		if h.Name == name {
			return h, true
		}
	}
	return Host{}, false
}
