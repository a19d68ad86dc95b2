package topology

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Problem is one thing wrong with a topology file.
type Problem struct {
	File         string
	Line, Column int
	Field        string // such as underlay.subnets[1].prefix
	Message      string // what is wrong and what would be right
}

// String returns file:line:column: field: message.
func (p Problem) String() string {
	where := p.File
	if p.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
	}
	if p.Field != "" {
		where += ": " + p.Field
	}
	return where + ": " + p.Message
}

// Error holds all that is wrong with a topology file, in the order of the file.
type Error struct{ Problems []Problem }

// Error returns the problems, one on each line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// The file, as somebody wrote it, with the place of everything that can be
// wrong only in the light of the policy.
type (
	file struct {
		name, policy text
		mtu          int
		bond         bool
		subnets      []subnetSpec
		hosts        []text
		vms          []vmSpec
		links        []linkSpec
	}
	text struct {
		value string
		at    *yaml.Node
		field string
	}
	subnetSpec struct {
		name      text
		net, net6 Net
		at        text
	}
	vmSpec   struct{ name, host text }
	linkSpec struct {
		node text
		Link
	}
)

// Limits of the underlay's MTU, in octets: the least that IPv6 demands of a link
// under NVGRE, and what the longest frame of Linux's virtual links carries.
const (
	minMTU     = 1280 + Overhead6
	maxMTU     = 65535
	defaultMTU = 1500
)

type reader struct {
	name     string
	problems []Problem
}

func (r *reader) problem(n *yaml.Node, field, format string, args ...any) {
	p := Problem{File: r.name, Field: field, Message: fmt.Sprintf(format, args...)}
	if n != nil {
		p.Line, p.Column = n.Line, n.Column
	}
	r.problems = append(r.problems, p)
}

// err returns all problems so far, in the order of the file, or nil.
func (r *reader) err() error {
	if len(r.problems) == 0 {
		return nil
	}
	slices.SortStableFunc(r.problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Error{r.problems}
}

func readFile(path string) (*file, *reader, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the topology: %w", err)
	}
	f, r := parse(path, data)
	return f, r, nil
}

func parse(name string, data []byte) (*file, *reader) {
	f, r := &file{mtu: defaultMTU}, &reader{name: name}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		r.problem(nil, "", "%v", err)
		return f, r
	}
	if len(doc.Content) == 0 {
		r.problem(nil, "", "the file is empty: want at least `policy: FILE`")
		return f, r
	}
	root := doc.Content[0]
	r.mapping(root, "", map[string]func(*yaml.Node, string){
		"name":     r.text(&f.name),
		"policy":   r.text(&f.policy),
		"underlay": func(n *yaml.Node, field string) { r.underlay(f, n, field) },
		"hosts": r.each(func(n *yaml.Node, field string) {
			var name text
			r.mapping(n, field, map[string]func(*yaml.Node, string){"name": r.text(&name)}, "name")
			f.hosts = append(f.hosts, name)
		}),
		"vms": r.each(func(n *yaml.Node, field string) {
			var v vmSpec
			r.mapping(n, field, map[string]func(*yaml.Node, string){"name": r.text(&v.name), "host": r.text(&v.host)}, "name", "host")
			f.vms = append(f.vms, v)
		}),
		"links": r.each(func(n *yaml.Node, field string) { r.link(f, n, field) }),
	}, "policy")
	return f, r
}

func (r *reader) underlay(f *file, n *yaml.Node, field string) {
	r.mapping(n, field, map[string]func(*yaml.Node, string){
		"mtu": func(n *yaml.Node, field string) {
			if v, err := strconv.Atoi(n.Value); err != nil || v < minMTU || v > maxMTU {
				r.problem(n, field, "%q is no MTU of an underlay: want octets from %d to %d", n.Value, minMTU, maxMTU)
			} else {
				f.mtu = v
			}
		},
		"bond": r.boolean(&f.bond),
		"subnets": r.each(func(n *yaml.Node, field string) {
			s := subnetSpec{at: text{at: n, field: field}}
			var prefix, router, prefix6, router6 text
			r.mapping(n, field, map[string]func(*yaml.Node, string){
				"name": r.text(&s.name), "prefix": r.text(&prefix), "router": r.text(&router),
				"prefix6": r.text(&prefix6), "router6": r.text(&router6),
			}, "prefix")
			s.net, s.net6 = r.net(prefix, router), r.net(prefix6, router6)
			if p := s.net6.Prefix; p.IsValid() && (p.Addr().Is4() || s.net.Prefix.Addr().Is6()) {
				r.problem(prefix6.at, prefix6.field, "prefix6 is the IPv6 prefix of a subnet whose prefix is IPv4")
			}
			f.subnets = append(f.subnets, s)
		}),
	})
}

// net reads the prefix and the router of a subnet, for one family.
func (r *reader) net(prefix, router text) (n Net) {
	if prefix.at != nil {
		p, err := netip.ParsePrefix(prefix.value)
		switch {
		case err != nil || p.Addr().Is4In6():
			r.problem(prefix.at, prefix.field, "%q: want ADDRESS/LENGTH such as 10.99.0.0/24", prefix.value)
		case p != p.Masked():
			r.problem(prefix.at, prefix.field, "%q has host bits set: want %s", prefix.value, p.Masked())
		default:
			n.Prefix = p
		}
	}
	if router.at != nil {
		a, err := netip.ParseAddr(router.value)
		switch {
		case err != nil:
			r.problem(router.at, router.field, "%q: want the router's address, such as 10.99.0.254", router.value)
		case prefix.at == nil:
			r.problem(router.at, router.field, "there is a router of IPv6 and no prefix6: add one")
		case n.Prefix.IsValid() && !n.Prefix.Contains(a):
			r.problem(router.at, router.field, "%s is outside of %s: want an address in it", a, n.Prefix)
		default:
			n.Router = a
		}
	}
	return n
}

func (r *reader) boolean(to *bool) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		v, err := strconv.ParseBool(n.Value)
		if err != nil || n.Tag != "!!bool" {
			r.problem(n, field, "%q: want true or false", n.Value)
		}
		*to = v
	}
}

func (r *reader) link(f *file, n *yaml.Node, field string) {
	var l linkSpec
	up := true
	r.mapping(n, field, map[string]func(*yaml.Node, string){
		"node": r.text(&l.node),
		"rate_mbps": func(n *yaml.Node, field string) {
			v, err := strconv.ParseFloat(n.Value, 64)
			if err != nil || !(v >= 0.1 && v <= 100000) {
				r.problem(n, field, "%q is no rate: want 10^6 bit/s from 0.1 to 100000", n.Value)
			}
			l.RateMbps = v
		},
		"up": r.boolean(&up),
	}, "node")
	l.Down = !up
	f.links = append(f.links, l)
}

// text returns a reader of a non-empty scalar.
func (r *reader) text(to *text) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if n.Kind != yaml.ScalarNode || n.Tag == "!!null" || n.Value == "" {
			r.problem(n, field, "want a text, not %s", kind(n))
			return
		}
		*to = text{n.Value, n, field}
	}
}

// each returns a reader of a list.
func (r *reader) each(item func(*yaml.Node, string)) func(*yaml.Node, string) {
	return func(n *yaml.Node, field string) {
		if n.Kind != yaml.SequenceNode {
			r.problem(n, field, "want a list, not %s", kind(n))
			return
		}
		for i, c := range n.Content {
			item(c, fmt.Sprintf("%s[%d]", field, i))
		}
	}
}

// mapping reads a mapping strictly: only these keys, each at most once, and all
// required ones.
func (r *reader) mapping(n *yaml.Node, field string, keys map[string]func(*yaml.Node, string), required ...string) {
	if n.Kind != yaml.MappingNode {
		r.problem(n, field, "want keys and values, not %s", kind(n))
		return
	}
	seen := make(map[string]int)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		sub := strings.TrimPrefix(field+"."+k.Value, ".")
		read, known := keys[k.Value]
		switch {
		case !known:
			r.problem(k, sub, "unknown key: want one of %s", strings.Join(sortedKeys(keys), ", "))
		case seen[k.Value] > 0:
			r.problem(k, sub, "given twice: it is in line %d already", seen[k.Value])
		case v.Kind == yaml.AliasNode:
			r.problem(v, sub, "aliases are not read: write the value out")
		default:
			read(v, sub)
		}
		seen[k.Value] = k.Line
	}
	for _, k := range required {
		if seen[k] == 0 {
			r.problem(n, field, "%s is missing", k)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func kind(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	if n.Tag == "!!null" || n.Value == "" {
		return "nothing"
	}
	return strconv.Quote(n.Value)
}
