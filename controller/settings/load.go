package settings

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"github.com/spf13/viper"
	"go.yaml.in/yaml/v3"

	"github.com/nvgre-ofctl/nvgre-ofctl/internal/spelling"
	"github.com/nvgre-ofctl/nvgre-ofctl/ovsdb/ovsaddr"
)

// keyDelimiter separates the levels of a key inside viper. It is not the dot,
// which occurs in addresses and would make a tree of 10.0.0.1.
const keyDelimiter = "\x00"

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Where   string // file:line:column, an environment variable or a flag
	Key     string // the setting, or what stands in its place
	Message string
}

func (p Problem) String() string { return fmt.Sprintf("%s: %s %s", p.Where, p.Key, p.Message) }

// Error is everything that is wrong with the settings.
type Error struct{ Problems []Problem }

// Error returns one line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// AddFlags declares a flag for every setting.
func AddFlags(fs *pflag.FlagSet) {
	for _, k := range Keys() {
		if k.Name == hostsKey {
			fs.Var(&hostsFlag{}, k.Flag(), k.Doc)
			continue
		}
		f := fs.VarPF(&textFlag{value: k.Default, kind: kindWord(k.Kind)}, k.Flag(), "", k.Doc)
		if k.Kind == "true or false" {
			f.NoOptDefVal = "true"
		}
	}
}

func kindWord(kind string) string {
	switch w, _, _ := strings.Cut(kind, ","); w {
	case "path", "name", "duration":
		return w
	case "true or false":
		return "bool"
	}
	return "word"
}

type textFlag struct{ value, kind string }

func (f *textFlag) String() string     { return f.value }
func (f *textFlag) Set(v string) error { f.value = v; return nil }
func (f *textFlag) Type() string       { return f.kind }

type hostsFlag struct{ values []string }

func (f *hostsFlag) String() string     { return strings.Join(f.values, hostSeparator) }
func (f *hostsFlag) Set(v string) error { f.values = append(f.values, v); return nil }
func (f *hostsFlag) Type() string       { return "host" }

// Load reads the settings: from file (none where file is ""), over it from the
// environment, over that from the flags of fs that were given (nil: none). The
// error is an *Error that holds every problem, or says why the file cannot be
// read.
//
// A relative path is relative to the directory of the file when it comes from
// the file, and to the working directory otherwise. An empty environment
// variable counts as not set.
func Load(file string, fs *pflag.FlagSet) (*Settings, error) {
	l := &loader{s: &Settings{}, v: viper.NewWithOptions(viper.KeyDelimiter(keyDelimiter))}
	cwd, err := os.Getwd()
	if err != nil {
		return nil, fmt.Errorf("finding the working directory: %w", err)
	}
	if file != "" {
		if l.file, err = filepath.Abs(file); err != nil {
			return nil, err
		}
		l.shown = file
		if err := l.readFile(); err != nil {
			return nil, err
		}
		l.s.File = l.file
	}
	for _, k := range Keys() {
		l.take(k, fs, cwd)
	}
	l.checkWhole()
	l.strayVariables()
	if len(l.problems) > 0 {
		return nil, &Error{l.problems}
	}
	slices.SortFunc(l.s.Hosts, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	return l.s, nil
}

type loader struct {
	s        *Settings
	v        *viper.Viper
	file     string // absolute
	shown    string // as the user wrote it
	nodes    map[string]*yaml.Node
	problems []Problem
}

func (l *loader) bad(where, key, format string, args ...any) {
	l.problems = append(l.problems, Problem{where, key, fmt.Sprintf(format, args...)})
}

// readFile reads the file into viper and, beside that, into nodes: viper merges
// the sources but knows neither lines nor keys that nobody declared.
func (l *loader) readFile() error {
	data, err := os.ReadFile(l.file)
	if err != nil {
		return fmt.Errorf("reading the settings: %w", err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(data, &doc); err != nil {
		return fmt.Errorf("%s: %w", l.shown, err)
	}
	l.nodes = map[string]*yaml.Node{}
	if len(doc.Content) == 0 {
		return nil // an empty file
	}
	root := doc.Content[0]
	if root.Kind != yaml.MappingNode {
		l.bad(l.at(root), "the file", "is not a mapping: want lines such as `policy: policy.yaml`")
		return nil
	}
	l.walk(root, "")
	if len(l.problems) > 0 {
		return nil
	}
	l.v.SetConfigType("yaml")
	if err := l.v.ReadConfig(bytes.NewReader(data)); err != nil {
		return fmt.Errorf("%s: %w", l.shown, err)
	}
	return nil
}

func (l *loader) at(n *yaml.Node) string { return fmt.Sprintf("%s:%d:%d", l.shown, n.Line, n.Column) }

// walk collects the nodes of the declared keys and reports the others.
func (l *loader) walk(m *yaml.Node, prefix string) {
	for i := 0; i+1 < len(m.Content); i += 2 {
		key, val := m.Content[i], m.Content[i+1]
		name := prefix + key.Value
		if val.Kind == yaml.AliasNode {
			val = val.Alias
		}
		if _, dup := l.nodes[name]; dup {
			l.bad(l.at(key), name, "is there twice: want it once")
			continue
		}
		switch {
		case strings.Contains(key.Value, ".") && isKey(name):
			group, member, _ := strings.Cut(name, ".")
			l.bad(l.at(key), name, "is written with a dot: want `%s: {%s: …}`", group, member)
		case isKey(name):
			l.nodes[name] = val
		case isGroup(name):
			l.nodes[name] = val
			if val.Kind == yaml.MappingNode {
				l.walk(val, name+".")
			} else if val.Tag != "!!null" {
				l.bad(l.at(val), name, "is not a mapping: want %s", strings.Join(membersOf(name), ", "))
			}
		default:
			l.bad(l.at(key), name, "is no setting; did you mean %s?", nearest(name, keyNames()))
		}
	}
}

func keyNames() []string {
	ks := Keys()
	names := make([]string, len(ks))
	for i, k := range ks {
		names[i] = k.Name
	}
	return names
}

func isKey(name string) bool   { return slices.Contains(keyNames(), name) }
func isGroup(name string) bool { return len(membersOf(name)) > 0 }

func membersOf(group string) []string {
	return slices.DeleteFunc(keyNames(), func(n string) bool { return !strings.HasPrefix(n, group+".") })
}

// take finds the value of one key, checks it and stores it.
func (l *loader) take(k Key, fs *pflag.FlagSet, cwd string) {
	id := strings.ReplaceAll(k.Name, ".", keyDelimiter)
	where, dir := "default", cwd
	if n := l.nodes[k.Name]; n != nil && n.Tag != "!!null" {
		where, dir = l.at(n), filepath.Dir(l.file)
	}
	l.v.SetDefault(id, k.Default)
	if err := l.v.BindEnv(id, k.Env()); err != nil {
		l.bad(k.Env(), k.Name, "%v", err)
	}
	if os.Getenv(k.Env()) != "" {
		where, dir = k.Env(), cwd
	}
	if fs != nil {
		if f := fs.Lookup(k.Flag()); f != nil {
			if err := l.v.BindPFlag(id, f); err != nil {
				l.bad("--"+k.Flag(), k.Name, "%v", err)
			}
			if f.Changed {
				where, dir = "--"+k.Flag(), cwd
			}
		}
	}
	value := l.v.Get(id)
	if b, ok := value.(bool); ok && k.Kind == "true or false" {
		value = strconv.FormatBool(b)
	}
	if n, ok := value.(int); ok && strings.HasPrefix(k.Kind, "number") {
		value = strconv.Itoa(n)
	}
	switch val := value.(type) {
	case string:
		if err := k.set(l.s, val, dir); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				l.bad(where, k.Name, "%s", line)
			}
		}
	case []any:
		if k.Name == hostsKey {
			l.fileHosts(dir)
			return
		}
		l.bad(where, k.Name, "is a list: want %s", k.Kind)
	default:
		l.bad(where, k.Name, "is %v: want %s%s", val, k.Kind, quoteHint(k))
	}
}

func quoteHint(k Key) string {
	if kindWord(k.Kind) == "duration" {
		return " with its unit, such as 10s"
	}
	return ", in quotes where YAML reads it as something else"
}

// fileHosts reads the list of hosts from the file's nodes, which know the lines.
func (l *loader) fileHosts(dir string) {
	for _, entry := range l.nodes[hostsKey].Content {
		if entry.Kind == yaml.AliasNode {
			entry = entry.Alias
		}
		if entry.Kind != yaml.MappingNode {
			l.bad(l.at(entry), hostsKey, "has an entry that is not a mapping: want `- {name: h1, ovsdb: ADDRESS, openflow: ADDRESS}`")
			continue
		}
		m, lines, bad := map[string]string{}, map[string]*yaml.Node{}, false
		for i := 0; i+1 < len(entry.Content); i += 2 {
			key, val := entry.Content[i], entry.Content[i+1]
			switch {
			case !slices.Contains(hostFields(), key.Value):
				l.bad(l.at(key), hostsKey+"."+key.Value, "is no setting; did you mean %s?", nearest(key.Value, hostFields()))
				bad = true
			case val.Tag == "!!null":
			case val.Kind != yaml.ScalarNode || val.Tag != "!!str":
				l.bad(l.at(val), hostsKey+"."+key.Value, "is not a text: put it in quotes")
				bad = true
			default:
				m[key.Value], lines[key.Value] = val.Value, val
			}
		}
		if bad {
			continue
		}
		for _, p := range l.s.addHost(m, dir) {
			n := cmp.Or(lines[p.field], entry)
			l.bad(l.at(n), hostsKey+"."+p.field, "%s", p.message)
		}
	}
}

// checkWhole checks what concerns several settings.
func (l *loader) checkWhole() {
	if err := l.s.checkStore(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			key, rest, _ := strings.Cut(line, " ")
			l.bad(cmp.Or(l.shown, "settings"), key, "%s", rest)
		}
	}
	t := l.s.TLS
	if !t.IsZero() && (t.CA == "" || t.Certificate == "" || t.PrivateKey == "") {
		l.bad(cmp.Or(l.shown, "settings"), "tls", "is incomplete: want ca, certificate and private-key, or none of them")
	}
	if !t.IsZero() {
		return
	}
	for _, h := range l.s.Hosts {
		for _, a := range []string{h.OVSDB, h.OpenFlow} {
			if ep, err := ovsaddr.Parse(a); err == nil && ep.NeedsTLS() {
				l.bad(cmp.Or(l.shown, "settings"), "tls", "is missing, and host %s is reached by %s: want ca, certificate and private-key", h.Name, a)
				return
			}
		}
	}
}

// strayVariables warns of variables that look like settings and are none. They
// are no error: other tools may use the prefix too.
func (l *loader) strayVariables() {
	known := []string{ConfigEnv}
	for _, k := range Keys() {
		known = append(known, k.Env())
	}
	for _, e := range os.Environ() {
		name, _, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, EnvPrefix) || slices.Contains(known, name) {
			continue
		}
		if near := nearest(name, known); spelling.Distance(name, near) <= 3 {
			l.s.Warnings = append(l.s.Warnings, fmt.Sprintf("the environment variable %s is no setting; did you mean %s?", name, near))
		}
	}
	slices.Sort(l.s.Warnings)
}

// DefaultFile is where the settings are looked for when nobody names a file.
const DefaultFile = "/etc/nvgre-ofctl/nvgre.yaml"

// FindFile returns the file to read: the one given, else the one that
// NVGRE_CONFIG names, else [DefaultFile] where it exists, else "".
func FindFile(given string) string {
	if f := cmp.Or(given, os.Getenv(ConfigEnv)); f != "" {
		return f
	}
	if _, err := os.Stat(DefaultFile); !errors.Is(err, os.ErrNotExist) {
		return DefaultFile
	}
	return ""
}

// nearest returns the name with the smallest edit distance.
func nearest(name string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int { return cmp.Compare(spelling.Distance(name, a), spelling.Distance(name, b)) })
}
