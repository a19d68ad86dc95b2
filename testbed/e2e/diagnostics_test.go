package e2e

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed"
)

// shown is a command that a document shows, with what it says there.
type shown struct {
	line    int
	command string
	node    string // where it runs: a VM or a host; empty: where nvgre-ofctl does
	pings   string // VM that pings an address meanwhile, and the address
	output  []string
}

// section is a part of a document with commands in it.
type section struct {
	title    string
	commands []*shown
}

var place = regexp.MustCompile(`^(.*?)\s+# (?:in|on) (\S+?)(?:[:,] .*)?$`)
var pinging = regexp.MustCompile(`^(.*?)\s+# while (\S+) pings (\S+)$`)

// readShown reads the commands of a Markdown document by its sections. A line of
// an indented block that begins with $ is a command, and what follows it is what
// it says. "# in VM", "# on HOST" and "# while VM pings CA" behind a command say
// where it runs, and what goes on.
func readShown(t *testing.T, file string) (all []section) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var cmd *shown
	for i, line := range strings.Split(string(text), "\n") {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			all, cmd = append(all, section{title: title}), nil
			continue
		}
		code, ok := strings.CutPrefix(line, "    ")
		switch {
		case !ok && line != "":
			cmd = nil
		case !ok && cmd != nil: // empty
			cmd.output = append(cmd.output, "")
		case !ok:
		case strings.HasPrefix(code, "$ ") && len(all) > 0:
			cmd = &shown{line: i + 1, command: code[2:]}
			if m := pinging.FindStringSubmatch(cmd.command); m != nil {
				cmd.command, cmd.pings = m[1], m[2]+" "+m[3]
			} else if m := place.FindStringSubmatch(cmd.command); m != nil {
				cmd.command, cmd.node = m[1], m[2]
			}
			last := &all[len(all)-1]
			last.commands = append(last.commands, cmd)
		case cmd == nil && len(all) == 0: // how to begin
		case cmd == nil:
			t.Errorf("%s:%d: nothing says which command says this", file, i+1)
		default:
			cmd.output = append(cmd.output, code)
		}
	}
	return all
}

// plain are the parts of an output that differ from run to run.
var plain = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\S*two-tenants\.policy\.yaml`), "POLICY"},
	{regexp.MustCompile(`\d\d:\d\d:\d\d, in 2(\.\d)?s`), "TIME, in 2s"},
	{regexp.MustCompile(`\bport \d+`), "port N"},
	{regexp.MustCompile(`in_port=\S+`), "in_port=N"},
	{regexp.MustCompile(`^\d+ +([\d.]+ +)?(h\d )`), "N $2"},       // counts of drops
	{regexp.MustCompile(`\b\d+ packets, \d+ bytes`), "N packets"}, // and of flows
	{regexp.MustCompile(`^(h\d +)\d+ packets?:`), "${1}N packets:"},
	{regexp.MustCompile(`, time \d+ms`), ""},
	{regexp.MustCompile(`\d+\.\d ms`), "N ms"},
	{regexp.MustCompile(` +`), " "},
}

func normal(line string) string {
	for _, p := range plain {
		line = p.what.ReplaceAllString(line, p.as)
	}
	return strings.TrimSpace(line)
}

// pattern is what a shown output means: … in a line is any text, a line of it any
// lines.
func (c *shown) pattern() *regexp.Regexp {
	out := slices.Clone(c.output)
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	var b strings.Builder
	for _, line := range out {
		if line == "…" {
			b.WriteString(`(?:.*\n)*?`)
			continue
		}
		parts := strings.Split(line, "…")
		for i := range parts {
			parts[i] = normal(parts[i])
			if i < len(parts)-1 && strings.HasSuffix(strings.Split(line, "…")[i], " ") {
				parts[i] += " "
			}
			parts[i] = regexp.QuoteMeta(parts[i])
		}
		b.WriteString(strings.Join(parts, ".*") + "\n")
	}
	return regexp.MustCompile(`\A` + b.String() + `\z`)
}

// do runs a shown command and returns what it says, in normal form.
func (b *bed) do(t *testing.T, c *shown) string {
	t.Helper()
	var out bytes.Buffer
	if c.node != "" {
		if _, err := b.Exec(t.Context(), c.node, testbed.Command{Args: []string{"sh", "-c", c.command}, Stdout: &out, Stderr: &out}); err != nil {
			t.Fatal(err)
		}
	} else {
		command := strings.ReplaceAll(c.command, "nvgre-ofctl testbed ", "nvgre-ofctl testbed --state-dir "+filepath.Join(b.root, "s")+" ")
		cmd := exec.CommandContext(t.Context(), "sh", "-c", command)
		cmd.Dir, cmd.Stdout, cmd.Stderr = b.root, &out, &out
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(b.binary)+":"+os.Getenv("PATH"), "NVGRE_CONFIG="+b.Settings())
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimRight(out.String(), "\n"), "\n")
	for i := range lines {
		lines[i] = normal(lines[i])
	}
	if len(lines) == 1 && lines[0] == "" {
		return ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// patience is how long a command may take to say what it is shown to say: a
// change has to be carried out, and counters to be brought up to date.
const patience = 20 * time.Second

// What docs/DIAGNOSTICS.md shows is what the commands say: each of its failures
// is made in a testbed as it says, and its commands are run.
func TestDiagnosticsAreTrue(t *testing.T) {
	sections := readShown(t, "../../docs/DIAGNOSTICS.md")
	if len(sections) != 6 {
		t.Errorf("%d failures, want 6", len(sections))
	}
	for _, s := range sections {
		t.Run(s.title, func(t *testing.T) {
			b := up(t, "two-tenants")
			b.ready()
			for _, c := range s.commands {
				b.hold(t, c)
				if t.Failed() {
					return
				}
			}
		})
	}
}

// hold runs a command until it says what it is shown to say.
func (b *bed) hold(t *testing.T, c *shown) {
	t.Helper()
	command := fmt.Sprintf("docs/DIAGNOSTICS.md:%d: %s", c.line, c.command)
	if c.pings != "" {
		vm, to, _ := strings.Cut(c.pings, " ")
		stop := b.keepPinging(t, vm, to)
		defer stop()
	}
	want := c.pattern()
	for end := time.Now().Add(patience); ; {
		got := b.do(t, c)
		if want.MatchString(got) {
			return
		}
		if time.Now().After(end) {
			t.Errorf("%s\nsays\n%s\nwhich is not what is shown:\n%s", command, got, strings.Join(c.output, "\n"))
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// keepPinging pings from a VM until the function it returns is called.
func (b *bed) keepPinging(t *testing.T, vm, to string) (stop func()) {
	t.Helper()
	from := b.vm(vm)
	cmd := exec.CommandContext(t.Context(), "ip", "netns", "exec", from.Namespace, "ping", "-i", "0.2", to)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
}
