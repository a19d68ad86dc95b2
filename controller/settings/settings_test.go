package settings_test

import (
	"errors"
	"flag"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"pgregory.net/rapid"

	"github.com/nvgre-ofctl/nvgre-ofctl/controller/settings"
)

var update = flag.Bool("update", false, "write the golden files")

func write(t testing.TB, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "nvgre.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func flags(t testing.TB, args ...string) *pflag.FlagSet {
	t.Helper()
	fs := pflag.NewFlagSet("test", pflag.ContinueOnError)
	settings.AddFlags(fs)
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	return fs
}

func TestDefaults(t *testing.T) {
	s, err := settings.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		AdminSocket: "/run/nvgre-ofctl/admin.sock",
		Log:         settings.Log{Level: slog.LevelInfo, Format: "text"},
		Bridge:      "br-int", TunnelPort: "nvgre0", PortMode: settings.FlowPort, Role: settings.Master,
		PlacementGrace: 10 * time.Second, ReconnectMax: time.Second, AuditInterval: 5 * time.Minute,
		ApplyTimeout: time.Minute, PolicySettle: 100 * time.Millisecond,
	}
	s.Warnings = nil
	if got := *s; !equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func equal(a, b settings.Settings) bool {
	if !slices.Equal(a.Hosts, b.Hosts) || !slices.Equal(a.Warnings, b.Warnings) {
		return false
	}
	a.Hosts, b.Hosts, a.Warnings, b.Warnings = nil, nil, nil, nil
	return a.File == b.File && a.Policy == b.Policy && a.AdminSocket == b.AdminSocket && a.Log == b.Log && a.Bridge == b.Bridge && a.AdoptBridge == b.AdoptBridge &&
		a.DatapathType == b.DatapathType && a.TunnelPort == b.TunnelPort && a.PortMode == b.PortMode && a.Role == b.Role && a.TLS == b.TLS &&
		a.PlacementGrace == b.PlacementGrace && a.ReconnectMax == b.ReconnectMax && a.AuditInterval == b.AuditInterval &&
		a.ApplyTimeout == b.ApplyTimeout && a.PolicySettle == b.PolicySettle
}

func TestWholeFile(t *testing.T) {
	file := write(t, `
policy: policy.yaml
admin-socket: /run/x.sock
log: {level: debug, format: json}
bridge: br-test
adopt-bridge: true
datapath-type: netdev
tunnel-port: gre1
port-mode: per-vsid
role: equal
tls: {ca: ca.pem, certificate: pki/c.pem, private-key: /k.pem}
placement-grace: 3s
reconnect-max: 250ms
audit-interval: 0s
apply-timeout: 2m
policy-settle: 5ms
punt-rate: 7
punt-burst: "8"
hosts:
  - {name: h2, ovsdb: "ssl:10.0.0.2:6640", openflow: "ssl:[fd00::2]:6653", listener: "pssl:6653"}
  - name: h1
    ovsdb: unix:h1/db.sock
    openflow: unix:/run/h1/br-int.mgmt
    listener: ""
`)
	dir := filepath.Dir(file)
	s, err := settings.Load(file, flags(t))
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		File: file, Policy: filepath.Join(dir, "policy.yaml"), AdminSocket: "/run/x.sock",
		Log:    settings.Log{Level: slog.LevelDebug, Format: "json"},
		Bridge: "br-test", AdoptBridge: true, DatapathType: "netdev", TunnelPort: "gre1", PortMode: settings.PortPerVSID, Role: settings.Equal,
		TLS:            settings.TLS{CA: filepath.Join(dir, "ca.pem"), Certificate: filepath.Join(dir, "pki/c.pem"), PrivateKey: "/k.pem"},
		PlacementGrace: 3 * time.Second, ReconnectMax: 250 * time.Millisecond, AuditInterval: 0, ApplyTimeout: 2 * time.Minute,
		PolicySettle: 5 * time.Millisecond, PuntRate: 7, PuntBurst: 8,
		Hosts: []settings.Host{
			{Name: "h1", OVSDB: "unix:" + filepath.Join(dir, "h1/db.sock"), OpenFlow: "unix:/run/h1/br-int.mgmt"},
			{Name: "h2", OVSDB: "ssl:10.0.0.2:6640", OpenFlow: "ssl:[fd00::2]:6653", Listener: "pssl:6653"},
		},
	}
	s.Warnings = nil
	if !equal(*s, want) {
		t.Errorf("got  %+v\nwant %+v", *s, want)
	}
}

func TestFileBelowEnvironmentBelowFlag(t *testing.T) {
	file := write(t, "bridge: br-file\nlog: {level: debug}\npolicy: in-file.yaml\n")
	cwd, _ := os.Getwd()
	t.Setenv("NVGRE_BRIDGE", "br-env")
	t.Setenv("NVGRE_LOG_LEVEL", "warn")
	t.Setenv("NVGRE_POLICY", "in-env.yaml")
	s, err := settings.Load(file, flags(t, "--bridge=br-flag"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Bridge != "br-flag" || s.Log.Level != slog.LevelWarn || s.Policy != filepath.Join(cwd, "in-env.yaml") {
		t.Errorf("bridge %q, level %v, policy %q", s.Bridge, s.Log.Level, s.Policy)
	}
	t.Setenv("NVGRE_BRIDGE", "") // empty counts as not set
	if s, err = settings.Load("", flags(t, "--adopt-bridge")); err != nil || !s.AdoptBridge {
		t.Errorf("--adopt-bridge: %v, %v", s, err)
	}
	if s, err = settings.Load(file, flags(t)); err != nil || s.Bridge != "br-file" {
		t.Errorf("bridge %q, %v", s.Bridge, err)
	}
}

func TestHostsFromFlagsAndEnvironment(t *testing.T) {
	file := write(t, "hosts: [{name: h9, ovsdb: 'unix:/9'}]\n")
	t.Setenv("NVGRE_HOSTS", "name=h3,ovsdb=unix:/3 name=h4,ovsdb=tcp:10.0.0.4:6640")
	s, err := settings.Load(file, flags(t))
	if err != nil || len(s.Hosts) != 2 || s.Hosts[1].OVSDB != "tcp:10.0.0.4:6640" {
		t.Fatalf("%+v, %v", s, err)
	}
	s, err = settings.Load(file, flags(t, "--host=name=h1,ovsdb=unix:/1,openflow=unix:/2", "--host", "name=h2,openflow=unix:/3,listener=ptcp:6653:127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	want := []settings.Host{{Name: "h1", OVSDB: "unix:/1", OpenFlow: "unix:/2"}, {Name: "h2", OpenFlow: "unix:/3", Listener: "ptcp:6653:127.0.0.1"}}
	if !slices.Equal(s.Hosts, want) {
		t.Errorf("%+v", s.Hosts)
	}
}

func TestKeysWithoutValueKeepTheDefault(t *testing.T) {
	s, err := settings.Load(write(t, "tls: {ca: , certificate: , private-key: }\nlog:\nbridge:\nhosts:\n"), flags(t))
	if err != nil {
		t.Fatal(err)
	}
	if !s.TLS.IsZero() || s.Bridge != "br-int" || s.Log.Format != "text" || len(s.Hosts) != 0 {
		t.Errorf("%+v", s)
	}
	if _, err := settings.Load(write(t, "# nothing\n"), nil); err != nil {
		t.Errorf("an empty file: %v", err)
	}
}

// Every problem has its place and says what would be right.
func TestProblems(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		args []string
		want string
	}{
		"unknown key":               {file: "polcy: p.yaml", want: "1:1: polcy is no setting; did you mean policy?"},
		"unknown nested key":        {file: "log:\n  levle: info", want: "2:3: log.levle is no setting; did you mean log.level?"},
		"key in another case":       {file: "Policy: p.yaml", want: "1:1: Policy is no setting; did you mean policy?"},
		"dotted key":                {file: "log.level: info", want: "1:1: log.level is written with a dot: want `log: {level: …}`"},
		"twice":                     {file: "bridge: a\nbridge: b", want: "2:1: bridge is there twice: want it once"},
		"group is text":             {file: "log: debug", want: "1:6: log is not a mapping: want log.level, log.format"},
		"list where text":           {file: "bridge: [a]", want: "1:9: bridge is a list: want name"},
		"mapping where text":        {file: "bridge: {a: b}", want: "1:9: bridge is map[a:b]: want name"},
		"number too large":          {file: "punt-rate: 100001", want: `punt-rate is "100001": want a number from 1 to 100000`},
		"fraction":                  {file: "punt-rate: 1.5", want: "punt-rate is 1.5: want number, 1 to 100000"},
		"number where text":         {file: "bridge: 5", want: "1:9: bridge is 5: want name, in quotes"},
		"not a mapping":             {file: "- policy", want: "1:1: the file is not a mapping"},
		"duration without unit":     {file: "placement-grace: 5", want: "placement-grace is 5: want duration, 0s to 1h with its unit, such as 10s"},
		"duration too long":         {file: "placement-grace: 61m", want: `is "61m": want a duration with its unit from 0s to 1h`},
		"duration negative":         {file: "placement-grace: -1s", want: `is "-1s": want a duration`},
		"duration too short":        {file: "reconnect-max: 1ms", want: `is "1ms": want a duration with its unit from 10ms to 10m`},
		"level":                     {file: "log: {level: INFO+1}", want: `log.level is "INFO+1": want debug, info, warn or error`},
		"format":                    {file: "log: {format: xml}", want: `log.format is "xml": want text or json`},
		"bridge too long":           {file: "bridge: a234567890123456", want: "want 1 to 15 letters"},
		"bridge like a path":        {file: "bridge: ../x", want: "want 1 to 15 letters"},
		"bridge empty":              {file: `bridge: ""`, want: "1:9: bridge is empty: want 1 to 15 letters"},
		"datapath":                  {file: "datapath-type: dpdk", want: `is "dpdk": want "" or netdev or system`},
		"port mode":                 {file: "port-mode: both", want: `is "both": want flow or per-vsid`},
		"bool as a number":          {file: "adopt-bridge: 1", want: "adopt-bridge is 1: want true or false"},
		"bool as a text":            {file: "adopt-bridge: 'yes'", want: `adopt-bridge is "yes": want true or false`},
		"text as a bool":            {file: "bridge: true", want: "bridge is true: want name, in quotes"},
		"role":                      {file: "role: slave", want: `is "slave": want master or equal`},
		"a user without a password": {file: "store: {endpoints: 'http://h:1', username: u}", want: "store.username is incomplete"},
		"a user of the etcd inside": {file: "store: {username: u, password-file: p}", want: "has no users"},
		"half a TLS identity":       {file: "tls: {ca: x}", want: "tls is incomplete"},
		"ssl without TLS":           {file: "hosts: [{name: a, ovsdb: 'ssl:10.0.0.1:6640'}]", want: "tls is missing, and host a is reached by ssl:10.0.0.1:6640"},
		"host without name":         {file: "hosts: [{ovsdb: 'unix:/a'}]", want: "1:9: hosts.name is missing"},
		"host twice":                {file: "hosts: [{name: a, ovsdb: 'unix:/a'}, {name: a, ovsdb: 'unix:/a'}]", want: `1:45: hosts.name "a" is there twice`},
		"host unreachable":          {file: "hosts: [{name: a}]", want: "hosts.ovsdb is missing"},
		"host with an odd key":      {file: "hosts: [{name: a, ovdb: 'unix:/a'}]", want: "1:19: hosts.ovdb is no setting; did you mean ovsdb?"},
		"host with a bad address":   {file: "hosts: [{name: a, ovsdb: 'http://x'}]", want: "1:26: hosts.ovsdb"},
		"host is a text":            {file: "hosts: [a]", want: "1:9: hosts has an entry that is not a mapping"},
		"hosts is a text":           {file: "hosts: a", want: `"a" in "a": want name=NAME`},
		"host name is a number":     {file: "hosts: [{name: 5, ovsdb: 'unix:/a'}]", want: "1:16: hosts.name is not a text: put it in quotes"},
		"active listener":           {file: "hosts: [{name: a, ovsdb: 'unix:/a', listener: 'tcp:10.0.0.1:6653'}]", want: "hosts.listener is wrong: listener \"tcp:10.0.0.1:6653\""},
		"flag":                      {args: []string{"--port-mode=x"}, want: `--port-mode: port-mode is "x"`},
		"flag host":                 {args: []string{"--host=h1"}, want: `--host: hosts "h1" in "h1": want name=NAME`},
		"flag host twice a key":     {args: []string{"--host=name=a,name=b"}, want: `name is given twice`},
	} {
		t.Run(name, func(t *testing.T) {
			file := ""
			if c.file != "" {
				file = write(t, c.file)
			}
			s, err := settings.Load(file, flags(t, c.args...))
			if err == nil {
				t.Fatalf("accepted: %+v", s)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

func TestAllProblemsAtOnce(t *testing.T) {
	t.Setenv("NVGRE_APPLY_TIMEOUT", "0s")
	file := write(t, "port-mode: x\nlog: {level: y, format: z}\nhosts:\n- {name: a}\n- {name: b, ovsdb: nope}\n")
	_, err := settings.Load(file, flags(t, "--role=w"))
	var e *settings.Error
	if !errors.As(err, &e) || len(e.Problems) != 7 {
		t.Fatalf("want 7 problems, got: %v", err)
	}
	for _, want := range []string{
		file + ":1:12: port-mode", file + ":2:14: log.level", file + ":2:25: log.format",
		"--role: role", "NVGRE_APPLY_TIMEOUT: apply-timeout", file + ":4:3: hosts.ovsdb", file + ":5:20: hosts.ovsdb",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
}

func TestMissingFile(t *testing.T) {
	if _, err := settings.Load(filepath.Join(t.TempDir(), "none.yaml"), nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestMistypedVariableIsWarnedOf(t *testing.T) {
	t.Setenv("NVGRE_BRIGDE", "x")
	s, err := settings.Load("", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(s.Warnings, "the environment variable NVGRE_BRIGDE is no setting; did you mean NVGRE_BRIDGE?") {
		t.Errorf("%q", s.Warnings)
	}
}

func TestNamesDeriveAndAreUnique(t *testing.T) {
	seen := map[string]string{}
	for _, k := range settings.Keys() {
		for _, n := range []string{k.Name, "--" + k.Flag(), k.Env()} {
			if seen[n] != "" {
				t.Errorf("%s belongs to %s and %s", n, seen[n], k.Name)
			}
			seen[n] = k.Name
		}
		if k.Doc == "" || k.Kind == "" {
			t.Errorf("%s is not documented", k.Name)
		}
	}
}

func TestManual(t *testing.T) {
	const golden = "../../docs/SETTINGS.md"
	if *update {
		if err := os.WriteFile(golden, []byte(settings.Manual()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != settings.Manual() {
		t.Error("docs/SETTINGS.md is out of step with the declarations: run `go test ./controller/settings -update`")
	}
}

// No file, however odd, makes Load panic, and what it accepts is in range.
func TestAnyFileIsReadOrRefused(t *testing.T) {
	dir := t.TempDir()
	value := rapid.SampledFrom([]string{"", "5", "5s", "-1", "1.5", "4294967296", "null", "~", "yes", "[a]", "{a: b}", "&x y", "*x", "info", "flow", `"a\0b"`, "2001-01-01", "!!binary aGk="})
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for _, k := range rapid.SliceOfN(rapid.SampledFrom(settings.Keys()), 0, 5).Draw(t, "keys") {
			v := value.Draw(t, "value")
			if group, member, ok := strings.Cut(k.Name, "."); ok {
				b.WriteString(group + ": {" + member + ": " + v + "}\n")
			} else {
				b.WriteString(k.Name + ": " + v + "\n")
			}
		}
		file := filepath.Join(dir, "f.yaml")
		if err := os.WriteFile(file, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := settings.Load(file, nil)
		if err != nil {
			return
		}
		if s.ApplyTimeout < time.Second || s.ReconnectMax < 10*time.Millisecond || s.PlacementGrace < 0 || len(s.Bridge) > 15 {
			t.Fatalf("out of range from\n%s\n%+v", b.String(), s)
		}
	})
}
