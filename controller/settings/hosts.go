package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
)

// hostFields are the keys of one entry of the list of hosts.
func hostFields() []string { return []string{"name", "ovsdb", "openflow", "listener"} }

// hostSeparator stands between the hosts of a flag that was given several times.
const hostSeparator = "\x1f"

// setHosts reads hosts as a flag or a variable gives them.
func setHosts(s *Settings, v, dir string) error {
	var errs []error
	s.Hosts = nil
	for _, text := range strings.FieldsFunc(v, func(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || string(r) == hostSeparator }) {
		m := map[string]string{}
		bad := false
		for part := range strings.SplitSeq(text, ",") {
			k, val, ok := strings.Cut(part, "=")
			if !ok || !slices.Contains(hostFields(), k) {
				errs = append(errs, fmt.Errorf("%q in %q: want name=NAME,ovsdb=ADDRESS,openflow=ADDRESS,listener=TARGET", part, text))
				bad = true
				continue
			}
			if _, dup := m[k]; dup {
				errs = append(errs, fmt.Errorf("%s is given twice in %q", k, text))
				bad = true
			}
			m[k] = val
		}
		if bad {
			continue
		}
		for _, p := range s.addHost(m, dir) {
			errs = append(errs, fmt.Errorf("%s in %q: %s", p.field, text, p.message))
		}
	}
	return errors.Join(errs...)
}

type hostProblem struct{ field, message string }

// addHost checks one host and adds it.
func (s *Settings) addHost(m map[string]string, dir string) []hostProblem {
	var ps []hostProblem
	bad := func(field, format string, args ...any) {
		ps = append(ps, hostProblem{field, fmt.Sprintf(format, args...)})
	}
	h := Host{Name: m["name"], Listener: m["listener"]}
	if h.Name == "" {
		bad("name", "is missing: want the name of a host of the policy")
	} else if _, dup := s.Host(h.Name); dup {
		bad("name", "%q is there twice: want each host once", h.Name)
	}
	for _, e := range []struct {
		field string
		to    *string
	}{{"ovsdb", &h.OVSDB}, {"openflow", &h.OpenFlow}} {
		v := m[e.field]
		if v == "" {
			continue
		}
		if p, ok := strings.CutPrefix(v, "unix:"); ok && p != "" {
			v = "unix:" + absolute(p, dir)
		}
		if _, err := ovsaddr.Parse(v); err != nil {
			bad(e.field, "is wrong: %v", err)
		}
		*e.to = v
	}
	if h.OVSDB == "" && h.OpenFlow == "" && h.Listener == "" && h.Name != "" {
		bad("ovsdb", "is missing: want the address of the host's OVSDB, such as unix:/run/openvswitch/db.sock or ssl:192.0.2.1:6640")
	}
	if h.Listener != "" {
		if _, err := ovsaddr.ParseListener(h.Listener); err != nil {
			bad("listener", "is wrong: %v", err)
		}
	}
	if len(ps) == 0 {
		s.Hosts = append(s.Hosts, h)
	}
	return ps
}
