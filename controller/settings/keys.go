package settings

import (
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// Key is the declaration of one setting.
type Key struct {
	Name    string // as in the file; a dot stands for one level of nesting
	Kind    string // what a value is: path, name, duration, one word of a list …
	Default string // in the form in which a user would write it
	Doc     string // one or two sentences; for a flag's help and the manual

	// set checks a value and stores it. dir is what a relative path is relative to.
	set func(s *Settings, value, dir string) error
}

// Flag returns the name of the command line flag, without dashes.
func (k Key) Flag() string {
	if k.Name == hostsKey {
		return "host"
	}
	return strings.ReplaceAll(k.Name, ".", "-")
}

// Env returns the name of the environment variable.
func (k Key) Env() string {
	return EnvPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(k.Name))
}

// EnvPrefix begins the name of every environment variable that is a setting.
const EnvPrefix = "NVGRE_"

// ConfigEnv names the environment variable that stands for the flag --config.
const ConfigEnv = EnvPrefix + "CONFIG"

// hostsKey is the one key whose value is a list of mappings.
const hostsKey = "hosts"

// Keys returns the declarations of all settings, in the order of the manual.
func Keys() []Key {
	keys := []Key{
		{"policy", "path", "",
			"The policy file. It is watched: a new version is applied when it is valid as a whole, and refused as a whole otherwise. " +
				"Without it, policy lives in the store and is changed by nvgre-ofctl apply and the REST interface.",
			path(func(s *Settings) *string { return &s.Policy })},
		{"admin-socket", "path", "/run/nvgre-ofctl/admin.sock",
			"The unix socket (mode 0600) of metrics, health, profiles and status.",
			path(func(s *Settings) *string { return &s.AdminSocket })},
		{"log.level", "debug, info, warn or error", "info",
			"The least severe level that is logged.",
			func(s *Settings, v, _ string) error {
				if v != strings.ToLower(v) || s.Log.Level.UnmarshalText([]byte(v)) != nil || strings.ContainsAny(v, "+-") {
					s.Log.Level = slog.LevelInfo
					return want(v, "debug, info, warn or error")
				}
				return nil
			}},
		{"log.format", "text or json", "text",
			"The form of a log line.",
			word(func(s *Settings) *string { return &s.Log.Format }, "text", "json")},
		{"bridge", "name", "br-int",
			"The integration bridge. It is created where it is missing; for one that is there already see adopt-bridge.",
			device(func(s *Settings) *string { return &s.Bridge })},
		{"adopt-bridge", "true or false", "false",
			"Whether a bridge of that name that this product did not make is taken over: its fail-mode and protocols are set, its ports and foreign flows stay.",
			boolean(func(s *Settings) *bool { return &s.AdoptBridge })},
		{"datapath-type", "netdev, system or nothing", "",
			"The bridge's datapath: netdev for the userspace datapath, system for the kernel's, nothing to leave it as it is.",
			word(func(s *Settings) *string { return &s.DatapathType }, "", "netdev", "system")},
		{"tunnel-port", "name", "nvgre0",
			"The name of the flow-based GRE port.",
			device(func(s *Settings) *string { return &s.TunnelPort })},
		{"port-mode", "flow or per-vsid", "flow",
			"flow: one GRE port carries all virtual subnets. per-vsid: besides, each virtual subnet has a GRE port with its key.",
			func(s *Settings, v, _ string) error {
				return word(func(s *Settings) *string { return (*string)(&s.PortMode) }, string(FlowPort), string(PortPerVSID))(s, v, "")
			}},
		{"flow-id", "true or false", "false",
			"Whether packets of the flow-based port get a FlowID (RFC 7637 section 3.2), the same for all packets of a connection, by which routers of the underlay " +
				"spread the connections of two VMs over equal paths. Open vSwitch tells TCP and SCTP connections apart by their ports, UDP only by its addresses. The ports of port-mode per-vsid have fixed keys, and with them the FlowID 0.",
			boolean(func(s *Settings) *bool { return &s.FlowID })},
		{"role", "master or equal", "master",
			"The OpenFlow role that is claimed before the first write. master fences off a controller that was started earlier; equal claims nothing.",
			func(s *Settings, v, _ string) error {
				return word(func(s *Settings) *string { return (*string)(&s.Role) }, string(Master), string(Equal))(s, v, "")
			}},
		{"tls.ca", "path", "",
			"The certificate of the authority that signed the switches' certificates (PEM). Needed for ssl: addresses, as are the two below.",
			path(func(s *Settings) *string { return &s.TLS.CA })},
		{"tls.certificate", "path", "",
			"The controller's certificate (PEM).",
			path(func(s *Settings) *string { return &s.TLS.Certificate })},
		{"tls.private-key", "path", "",
			"The private key of the controller's certificate (PEM).",
			path(func(s *Settings) *string { return &s.TLS.PrivateKey })},
		{"placement-grace", "duration, 0s to 1h", "10s",
			"How long after its start the controller waits for every host's OVSDB to answer before it changes any switch. " +
				"A host that answers later delays nobody; until it does, flows to VMs that only it can place are kept.",
			duration(func(s *Settings) *time.Duration { return &s.PlacementGrace }, 0, time.Hour)},
		{"linger", "duration, 0s or 1s to 24h", "30s",
			"How long a host keeps the flows of a routing domain at least, and at most twice that, after the last of its VMs has left: one that comes back finds them. 0s: not at all.",
			zeroOr(func(s *Settings) *time.Duration { return &s.Linger })},
		{"punt-rate", "number, 1 to 100000", "50",
			"How many packets a second of one VM its switch hands to the controller at most: those that are answered with an ICMP error, DHCP, router solicitations.",
			number(func(s *Settings) *uint32 { return &s.PuntRate }, 1, 100_000)},
		{"punt-burst", "number, 1 to 100000", "100",
			"How many such packets of one VM may come at once.",
			number(func(s *Settings) *uint32 { return &s.PuntBurst }, 1, 100_000)},
		{"reconnect-max", "duration, 10ms to 10m", "1s",
			"The longest pause between two attempts to reach a host.",
			duration(func(s *Settings) *time.Duration { return &s.ReconnectMax }, 10*time.Millisecond, 10*time.Minute)},
		{"audit-interval", "duration, 0s or 1s to 24h", "5m",
			"How often a switch is read back in full and repaired where somebody else changed our flows; 0s: only on connecting. " +
				"Switches with a flow monitor, as Open vSwitch has, tell of such changes at once; this finds the rest.",
			zeroOr(func(s *Settings) *time.Duration { return &s.AuditInterval })},
		{"apply-timeout", "duration, 1s to 1h", "1m",
			"How long a switch may take to read its flows back or to commit a change, before the connection is given up and tried anew.",
			duration(func(s *Settings) *time.Duration { return &s.ApplyTimeout }, time.Second, time.Hour)},
		{"policy-settle", "duration, 0s to 10s", "100ms",
			"How long the policy file must be left alone before a new version is read.",
			duration(func(s *Settings) *time.Duration { return &s.PolicySettle }, 0, 10*time.Second)},
	}
	keys = append(keys, storeKeys()...)
	return append(keys,
		Key{hostsKey, "list of hosts", "",
			"How to reach hosts, where the policy does not say it or says it for others: a list of mappings with " +
				"name, ovsdb, openflow (unix:PATH, tcp:IP:PORT or ssl:IP:PORT) and listener (ptcp:… or pssl:…, a passive OpenFlow listener " +
				"that the bridge is given). As a flag, repeated: name=h1,ovsdb=ADDRESS,openflow=ADDRESS,listener=TARGET; in the environment the same, separated by spaces. " +
				"A flag or a variable replaces the whole list.",
			setHosts})
}

// number takes a decimal number within bounds.
func number(at func(*Settings) *uint32, least, most uint64) func(*Settings, string, string) error {
	return func(s *Settings, v, _ string) error {
		n, err := strconv.ParseUint(v, 10, 32)
		if err != nil || n < least || n > most {
			return want(v, fmt.Sprintf("a number from %d to %d", least, most))
		}
		*at(s) = uint32(n)
		return nil
	}
}

func want(v, what string) error {
	if v == "" {
		return fmt.Errorf("is empty: want %s", what)
	}
	return fmt.Errorf("is %q: want %s", v, what)
}

func path(at func(*Settings) *string) func(*Settings, string, string) error {
	return func(s *Settings, v, dir string) error {
		if strings.ContainsRune(v, 0) {
			return errors.New("holds a zero octet: want a path")
		}
		*at(s) = absolute(v, dir)
		return nil
	}
}

func absolute(p, dir string) string {
	if p == "" || filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(dir, p)
}

func word(at func(*Settings) *string, words ...string) func(*Settings, string, string) error {
	return func(s *Settings, v, _ string) error {
		for _, w := range words {
			if v == w {
				*at(s) = v
				return nil
			}
		}
		list := make([]string, len(words))
		for i, w := range words {
			list[i] = w
			if w == "" {
				list[i] = `""`
			}
		}
		return want(v, strings.Join(list, " or "))
	}
}

// device takes the name of a network device: at most 15 octets, as
// IFNAMSIZ of the kernel demands, and nothing that a path or a command would
// read as something else.
func device(at func(*Settings) *string) func(*Settings, string, string) error {
	return func(s *Settings, v, _ string) error {
		ok := v != "" && len(v) <= 15 && v != "." && v != ".."
		for _, c := range v {
			ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.ContainsRune("-_.", c))
		}
		if !ok || v[0] == '-' {
			return want(v, "1 to 15 letters, digits, '-', '_' or '.', not beginning with '-'")
		}
		*at(s) = v
		return nil
	}
}

func duration(at func(*Settings) *time.Duration, low, high time.Duration) func(*Settings, string, string) error {
	return func(s *Settings, v, _ string) error {
		d, err := time.ParseDuration(v)
		if err != nil || d < low || d > high {
			return want(v, fmt.Sprintf("a duration with its unit from %s to %s, such as 500ms, 10s or 5m", short(low), short(high)))
		}
		*at(s) = d
		return nil
	}
}

// zeroOr takes 0s, or a duration from a second to a day.
func zeroOr(at func(*Settings) *time.Duration) func(*Settings, string, string) error {
	return func(s *Settings, v, dir string) error {
		if v == "0" || v == "0s" {
			*at(s) = 0
			return nil
		}
		return duration(at, time.Second, 24*time.Hour)(s, v, dir)
	}
}

// short writes a duration without the zero minutes and seconds of its String.
func short(d time.Duration) string {
	t := d.String()
	if strings.HasSuffix(t, "m0s") {
		t = strings.TrimSuffix(t, "0s")
	}
	if strings.HasSuffix(t, "h0m") {
		t = strings.TrimSuffix(t, "0m")
	}
	return t
}
