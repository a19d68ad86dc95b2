package hnv

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// noun is one kind of object of module NetWNV.
type noun struct {
	what   string
	fields []field
	key    []string // fields that tell objects of one host apart
}

// field is a property of an object and the parameter that gives it.
type field struct {
	name   string // lower case
	form   string
	must   bool // New- wants it
	set    bool // Set- changes it; others choose
	remark bool // nothing but a name for people
}

// nouns has the parameters as Microsoft documents them for Windows Server 2012 R2.
func nouns() map[string]*noun {
	return map[string]*noun{
		"lookuprecord": {"lookup record", []field{
			{"customeraddress", "address", true, false, false}, {"virtualsubnetid", "number", true, false, false},
			{"macaddress", "mac", true, false, false}, {"provideraddress", "address", true, true, false},
			{"rule", "rule", true, true, false}, {"customerid", "text", false, true, true}, {"context", "text", false, true, true},
			{"vmname", "text", false, true, true}, {"usevmmacaddress", "bool", false, true, false}, {"type", "type", false, false, false},
			{"unusable", "bool", false, false, false}, {"unsynchronized", "bool", false, false, false},
		}, []string{"virtualsubnetid", "customeraddress"}},
		"customerroute": {"customer route", []field{
			{"routingdomainid", "guid", true, false, false}, {"virtualsubnetid", "number", true, false, false},
			{"destinationprefix", "prefix", true, false, false}, {"nexthop", "address", true, false, false}, {"metric", "number", false, true, false},
		}, []string{"routingdomainid", "virtualsubnetid", "destinationprefix", "nexthop"}},
		"provideraddress": {"provider address", []field{
			{"provideraddress", "address", true, false, false}, {"interfaceindex", "any", true, false, false},
			{"prefixlength", "number", true, true, false}, {"vlanid", "number", false, true, false}, {"macaddress", "mac", false, true, false},
			{"addressstate", "text", false, false, false}, {"managedbycluster", "bool", false, true, false},
		}, []string{"provideraddress"}},
		"providerroute": {"provider route", []field{
			{"interfaceindex", "any", true, false, false}, {"destinationprefix", "prefix", true, false, false},
			{"nexthop", "address", true, false, false}, {"metric", "number", false, true, false},
		}, []string{"destinationprefix", "nexthop"}},
	}
}

// object is one record, route or address on a host. It is immutable.
type object struct {
	at     int
	values map[string]string // in their one form, by field
}

func (o *object) get(name string) string { return o.values[name] }

// attachment is a VM's adapter that was put into a virtual subnet.
type attachment struct {
	at            int
	host, vm, mac string
	vsid          string
	used          bool
}

// state is what the hosts have while the script goes on.
type state struct {
	nouns       map[string]*noun
	hosts       []string // in the order of the script, as first written
	known       map[string]bool
	has         map[string]map[string][]*object // by noun, by host in lower case
	attachments []*attachment
}

func newState() *state {
	return &state{nouns: nouns(), known: map[string]bool{}, has: map[string]map[string][]*object{}}
}

// host notes that the script names a host.
func (s *state) host(name string) string {
	k := strings.ToLower(name)
	if !s.known[k] {
		s.known[k] = true
		s.hosts = append(s.hosts, name)
	}
	return k
}

// selector is what chooses objects: by field the values it may have.
type selector map[string][]string

func (s selector) fits(o *object) bool {
	for f, values := range s {
		if !slices.Contains(values, o.values[f]) {
			return false
		}
	}
	return true
}

// canonical returns the one form of a value, or what is wrong with it.
func canonical(form, s string) (string, error) {
	switch form {
	case "address":
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return "", fmt.Errorf("%q is no address: want one such as 10.0.0.5", s)
		}
		return a.Unmap().String(), nil
	case "prefix":
		p, err := tenant.ParseCAPrefix(s)
		if err != nil {
			return "", err
		}
		return p.String(), nil
	case "mac":
		m, err := tenant.ParseMAC(s)
		if err != nil {
			return "", err
		}
		return m.String(), nil
	case "guid":
		id, err := tenant.ParseRDID(s)
		if err != nil {
			return "", err
		}
		return id.String(), nil
	case "number":
		n, ok := parseNumber(strings.TrimSpace(s))
		if !ok || n < 0 || n > 1<<32-1 {
			return "", fmt.Errorf("%q is no number: want one from 0 to 4294967295", s)
		}
		return strconv.FormatInt(n, 10), nil
	case "rule":
		return oneWord(s, "TranslationMethodNat", "TranslationMethodEncap", "TranslationMethodNone")
	case "type":
		return oneWord(s, "Static", "Dynamic", "GatewayWildcard", "L2Only")
	case "bool":
		switch strings.ToLower(s) {
		case "true", "1":
			return "true", nil
		case "false", "0":
			return "false", nil
		}
		return "", fmt.Errorf("%q is neither $true nor $false", s)
	}
	return s, nil
}

// oneWord returns the word of a list that s is, by name or by number.
func oneWord(s string, words ...string) (string, error) {
	for i, w := range words {
		if strings.EqualFold(s, w) || s == strconv.Itoa(i) {
			return w, nil
		}
	}
	return "", fmt.Errorf("%q is unknown: want %s", s, strings.Join(words, ", "))
}
