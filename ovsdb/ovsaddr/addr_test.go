package ovsaddr

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	for in, want := range map[string]Endpoint{
		"unix:/var/run/openvswitch/db.sock": {"unix", "/var/run/openvswitch/db.sock"},
		"unix:/a b/100%?#.sock":             {"unix", "/a b/100%?#.sock"},
		"tcp:10.0.0.1:6640":                 {"tcp", "10.0.0.1:6640"},
		"ssl:[fd00::1]:6653":                {"ssl", "[fd00::1]:6653"},
		"tcp:[fe80::1%eth0]:6640":           {"tcp", "[fe80::1%eth0]:6640"},
		"tcp:[FD00:0::1]:1":                 {"tcp", "[fd00::1]:1"},
	} {
		got, err := Parse(in)
		if err != nil || got != want {
			t.Errorf("Parse(%q) = %v, %v; want %v", in, got, err, want)
		}
	}
}

func TestParseSaysWhatWouldBeRight(t *testing.T) {
	for in, want := range map[string]string{
		"":                                  "want unix:PATH, tcp:IP:PORT or ssl:IP:PORT",
		"tcp":                               "want unix:PATH",
		"tcp:":                              "want unix:PATH",
		"10.0.0.1:6640":                     `unknown method "10.0.0.1"`,
		"ptcp:6640":                         "is one to listen on",
		"unix:db.sock":                      "want an absolute path such as unix:/var/run/openvswitch/db.sock",
		"tcp:10.0.0.1":                      "the port is missing: want tcp:IP:PORT",
		"ssl:[fd00::1]":                     "the port is missing: want ssl:IP:PORT",
		"tcp:fd00::1:6640":                  "an IPv6 address stands in brackets",
		"tcp:10.0.0.1:0":                    "port 0 is none",
		"tcp:10.0.0.1:65536":                `port "65536" is not a number from 1 to 65535`,
		"tcp:10.0.0.256:6640":               `"10.0.0.256" is no IP address`,
		"tcp:host:6640":                     `"host" is no IP address`,
		"tcp:[::ffff:10.0.0.1]:1":           "want 10.0.0.1",
		"tcp:224.0.0.1:1":                   "multicast",
		"unix:/" + strings.Repeat("x", 107): "holds 107",
		"unix:/a\x00b":                      "zero octet",
	} {
		if _, err := Parse(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): error %v, want one with %q", in, err, want)
		}
	}
}

func TestParseListener(t *testing.T) {
	for in, want := range map[string]string{
		"ptcp:6653:127.0.0.1": "ptcp:6653:127.0.0.1",
		"pssl:6653:[fd00::1]": "pssl:6653:[fd00::1]",
		"ptcp:":               "ptcp:6653",
		"ptcp::10.0.0.1":      "ptcp:6653:10.0.0.1",
		"pssl:1":              "pssl:1",
		"ptcp:6653:[0::0]":    "ptcp:6653:[::]",
	} {
		l, err := ParseListener(in)
		if err != nil || l.String() != want {
			t.Errorf("ParseListener(%q) = %v, %v; want %s", in, l, err, want)
		}
		if !IsPassive(l.String()) {
			t.Errorf("%s does not pass for passive", l)
		}
	}
	for in, want := range map[string]string{
		"":                     "want ptcp:PORT:IP",
		"ptcp":                 "want ptcp:PORT:IP",
		"tcp:10.0.0.1:6653":    "flushes its flows",
		"ssl:10.0.0.1:6653":    "flushes its flows",
		"unix:/x":              "flushes its flows",
		"punix:/x":             "want ptcp:PORT:IP",
		"ptcp:0":               "1 to 65535",
		"ptcp:70000":           "1 to 65535",
		"ptcp:6653:fd00::1":    "stands in brackets",
		"ptcp:6653:[10.0.0.1]": "stands in brackets",
		"ptcp:6653:[fd00::1":   "a bracket is missing",
		"ptcp:6653:host":       "is no IP address",
		"ptcp:6653:":           "is no IP address",
		"ptcp:1:239.1.1.1":     "multicast",
	} {
		if _, err := ParseListener(in); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("ParseListener(%q): error %v, want one with %q", in, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"unix:/db.sock", "tcp:10.0.0.1:6640", "ssl:[fd00::1%2]:6653", "tcp:[", "tcp:]:1", "tcp::", "unix:", "ptcp:6653:[::]", "pssl::", "ptcp:1:["} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := Parse(s); err == nil {
			again, err := Parse(e.String())
			if err != nil || again != e {
				t.Errorf("%q was read as %v, which reads as %v, %v", s, e, again, err)
			}
			if e.Network != "unix" {
				if _, err := netip.ParseAddrPort(e.Address); err != nil {
					t.Errorf("%q: %v", s, err)
				}
			}
		}
		if l, err := ParseListener(s); err == nil {
			again, err := ParseListener(l.String())
			if err != nil || again != l {
				t.Errorf("%q was read as %v, which reads as %v, %v", s, l, again, err)
			}
		}
	})
}
