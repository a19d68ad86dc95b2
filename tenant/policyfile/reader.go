package policyfile

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// maxAliased bounds the number of nodes that are read through aliases, so that
// aliases of aliases cannot make a small file a large policy.
const maxAliased = 100_000

// reader turns nodes into a tenant.Spec and gathers what is wrong with their form.
type reader struct {
	name     string
	problems []Problem
	path     []step
	aliased  int                // nodes read through aliases
	sizes    map[*yaml.Node]int // nodes under an aliased node
}

// step is one part of a path: a key, or an index where key is empty.
type step struct {
	key      string
	optional bool // the key may be left out
	index    int
}

func (r *reader) position(n *yaml.Node) tenant.Position {
	return tenant.Position{File: r.name, Line: n.Line, Column: n.Column}
}

func (r *reader) problem(n *yaml.Node, format string, args ...any) {
	r.problems = append(r.problems, Problem{Position: r.position(n), Path: pathString(r.path), Message: fmt.Sprintf(format, args...)})
}

func pathString(path []step) string {
	var b strings.Builder
	for _, s := range path {
		if s.key == "" {
			fmt.Fprintf(&b, "[%d]", s.index)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		b.WriteString(s.key)
	}
	return b.String()
}

// follow returns what n stands for. It is false, and a problem is noted, where
// too much has been read through aliases already. Aliases cannot lead in a
// circle: the objects of a policy file nest to a fixed depth.
func (r *reader) follow(n *yaml.Node) (*yaml.Node, bool) {
	if n.Kind != yaml.AliasNode {
		return n, true
	}
	size, known := r.sizes[n.Alias]
	if !known {
		size = countNodes(n.Alias)
		if r.sizes == nil {
			r.sizes = make(map[*yaml.Node]int)
		}
		r.sizes[n.Alias] = size
	}
	before := r.aliased
	if before > maxAliased {
		return nil, false
	}
	r.aliased += size
	if r.aliased > maxAliased {
		r.problem(n, "aliases repeat more than %d values with this one: want the values written out", maxAliased)
		return nil, false
	}
	return n.Alias, true
}

func countNodes(n *yaml.Node) int {
	total := 1
	for _, c := range n.Content {
		total += countNodes(c)
	}
	return total
}

// field is a key of an object and the field of tenant's Spec that it fills.
type field struct {
	key      string
	field    tenant.FieldSet
	optional bool
}

// object reads the mapping n: read is called for each of fields that is there,
// and says whether it understood the value. object returns the fields that are
// there but could not be read. What names the object in messages.
func (r *reader) object(n *yaml.Node, what string, fields []field, read func(f tenant.FieldSet, v *yaml.Node) bool) (unread tenant.FieldSet) {
	n, ok := r.follow(n)
	if !ok {
		return tenant.AllFields
	}
	if n.Kind != yaml.MappingNode || n.Style&yaml.TaggedStyle != 0 {
		r.kind(n, yaml.MappingNode, fmt.Sprintf("%s, a mapping with the keys %s", what, keys(fields)))
		return tenant.AllFields
	}
	var seen, maybe tenant.FieldSet
	var first [maxFields]*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		f := indexField(fields, k)
		if f < 0 {
			maybe |= r.unknownKey(k, what, fields, n)
			continue
		}
		r.path = append(r.path, step{key: k.Value, optional: fields[f].optional})
		if bit := fields[f].field; seen.Has(bit) {
			r.problem(k, "key %q is given twice, first at line %d: want it once", k.Value, first[f].Line)
			unread |= bit
		} else {
			seen |= bit
			first[f] = k
			if !read(bit, v) {
				unread |= bit
			}
		}
		r.path = r.path[:len(r.path)-1]
	}
	return unread | maybe&^seen
}

func indexField(fields []field, k *yaml.Node) int {
	if k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0 {
		return -1
	}
	for i := range fields {
		if fields[i].key == k.Value {
			return i
		}
	}
	return -1
}

// unknownKey reports a key of object n and returns the field that was perhaps meant.
func (r *reader) unknownKey(k *yaml.Node, what string, fields []field, n *yaml.Node) tenant.FieldSet {
	switch {
	case k.Kind != yaml.ScalarNode || k.Style&yaml.TaggedStyle != 0:
		r.problem(k, "a key of %s is no plain word: want %s", what, choice(fields))
		return tenant.AllFields
	case k.Value == "<<" && k.Tag == "!!merge":
		r.problem(k, "merge keys (<<) are not supported: want the keys of %s written out", what)
		return tenant.AllFields
	}
	r.path = append(r.path, step{key: keyStep(k.Value)})
	defer func() { r.path = r.path[:len(r.path)-1] }()
	if f, ok := nearest(k.Value, absent(fields, n)); ok {
		r.problem(k, "unknown key %q in %s: want %s (did you mean %s?)", k.Value, what, choice(fields), f.key)
		return f.field
	}
	r.problem(k, "unknown key %q in %s: want %s", k.Value, what, choice(fields))
	return 0
}

// absent returns the fields that the mapping n has no key for.
func absent(fields []field, n *yaml.Node) []field {
	return slices.DeleteFunc(slices.Clone(fields), func(f field) bool {
		for i := 0; i < len(n.Content); i += 2 {
			if n.Content[i].Value == f.key {
				return true
			}
		}
		return false
	})
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,40}$`)

// keyStep returns a key as a part of a path that stays on one line.
func keyStep(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return strconv.Quote(key)
}

func choice(fields []field) string { return "one of " + keys(fields) }

func keys(fields []field) string {
	all := make([]string, len(fields))
	for i := range fields {
		all[i] = fields[i].key
	}
	return strings.Join(all, ", ")
}

// list reads the sequence n: read is called for each item and says whether it
// understood it. list returns whether all of them were understood.
func (r *reader) list(n *yaml.Node, what string, start func(length int), read func(i int, item *yaml.Node) bool) bool {
	n, ok := r.follow(n)
	if !ok || !r.kind(n, yaml.SequenceNode, what) {
		return false
	}
	start(len(n.Content))
	all := true
	for i, item := range n.Content {
		r.path = append(r.path, step{index: i})
		all = read(i, item) && all
		r.path = r.path[:len(r.path)-1]
	}
	return all
}

// kind checks that n, which is no alias, is of that kind and has no tag.
func (r *reader) kind(n *yaml.Node, kind yaml.Kind, what string) bool {
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		r.problem(n, "has the tag %s: want %s without a tag", n.Tag, what)
	case n.Kind == kind:
		return true
	case isNull(n):
		r.problem(n, "is null: want %s%s", what, r.orNothing())
	case n.Kind == yaml.MappingNode:
		r.problem(n, "is a mapping: want %s", what)
	case n.Kind == yaml.SequenceNode:
		r.problem(n, "is a list: want %s", what)
	default:
		r.problem(n, "is the single value %s: want %s", shown(n), what)
	}
	return false
}

// orNothing ends the message of a value that is not there.
func (r *reader) orNothing() string {
	if n := len(r.path); n > 0 && r.path[n-1].optional {
		return ", or leave the key out"
	}
	return ""
}

func isNull(n *yaml.Node) bool {
	return n.Kind == yaml.ScalarNode && n.Style == 0 && n.Tag == "!!null"
}

// shown returns a scalar as the file has it, as far as that fits in a message.
func shown(n *yaml.Node) string {
	s := n.Value
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "..."
	}
	if n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0 || s == "" {
		return strconv.Quote(s)
	}
	return strings.Join(strings.Fields(s), " ")
}

// The words and numbers that readers of YAML 1.1 take for something else than
// text, beyond what the codec tells (https://yaml.org/type/).
var (
	yaml11Bool = regexp.MustCompile(`^(?i:y|n|yes|no|on|off)$`)
	yaml11Base = regexp.MustCompile(`^[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?$`)
)

// text reads a name: text that every reader of YAML takes for text.
func (r *reader) text(n *yaml.Node, what string, out *string) bool {
	n, ok := r.follow(n)
	if !ok || !r.kind(n, yaml.ScalarNode, what) {
		return false
	}
	quoted := n.Style != 0
	switch {
	case n.Value == "" && quoted:
		r.problem(n, "is empty: want %s%s", what, r.orNothing())
	case isNull(n):
		r.problem(n, "is null: want %s%s", what, r.orNothing())
	case !quoted && n.Tag != "!!str" && n.Tag != "!!merge":
		r.problem(n, "%s is a %s to YAML: want text, so write %q", shown(n), map[string]string{
			"!!int": "number", "!!float": "number", "!!bool": "boolean", "!!timestamp": "date"}[n.Tag], n.Value)
	case !quoted && yaml11Bool.MatchString(n.Value):
		r.problem(n, "%s is a boolean to YAML 1.1: want text, so write %q", shown(n), n.Value)
	case !quoted && yaml11Base.MatchString(n.Value):
		r.problem(n, "%s is a number of base 60 to YAML 1.1: want text, so write %q", shown(n), n.Value)
	default:
		*out = n.Value
		return true
	}
	return false
}

// value reads an address or an identifier by its own parser. The text counts,
// whatever YAML takes it for: 020000000005 is a MAC, not an octal number.
func value[T any](r *reader, n *yaml.Node, what string, parse func(string) (T, error), out *T) bool {
	n, ok := r.follow(n)
	if !ok || !r.kind(n, yaml.ScalarNode, what) {
		return false
	}
	if isNull(n) {
		r.problem(n, "is null: want %s%s", what, r.orNothing())
		return false
	}
	v, err := parse(n.Value)
	if err != nil {
		r.problem(n, "%v", err)
		return false
	}
	*out = v
	return true
}

var decimal = regexp.MustCompile(`^(0|[1-9][0-9]*)$`)

// number reads a decimal number of 32 bits. Want says what would be right.
func (r *reader) number(n *yaml.Node, want string, limit uint32, out *uint32) bool {
	n, ok := r.follow(n)
	if !ok || !r.kind(n, yaml.ScalarNode, want) {
		return false
	}
	v := n.Value
	switch {
	case isNull(n):
		r.problem(n, "is null: want %s%s", want, r.orNothing())
	case n.Style != 0:
		r.problem(n, "%q is text because of the quotes: want %s, without quotes", v, want)
	case decimal.MatchString(v):
		u, err := strconv.ParseUint(v, 10, 64)
		if err != nil || u > uint64(limit) {
			r.problem(n, "%s is out of range: want %s", shown(n), want)
			return false
		}
		*out = uint32(u)
		return true
	case strings.HasPrefix(v, "-") && decimal.MatchString(v[1:]):
		r.problem(n, "%s is out of range: want %s", v, want)
	case n.Tag == "!!float":
		r.problem(n, "%s is not a whole number: want %s", shown(n), want)
	case n.Tag == "!!int":
		if u, err := strconv.ParseUint(v, 0, 32); err == nil && (len(v) < 2 || v[0] != '0' || v[1] > '9') {
			r.problem(n, "%s is not in decimal: want %s, here %d", v, want, u)
		} else {
			r.problem(n, "%s is not in decimal, or has a sign or a leading zero: want %s in plain decimal", v, want)
		}
	default:
		r.problem(n, "%s is not a number: want %s", shown(n), want)
	}
	return false
}
