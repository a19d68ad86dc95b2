package settings

import (
	"fmt"
	"strings"
)

// Manual renders docs/SETTINGS.md from the declarations.
func Manual() string {
	var b strings.Builder
	b.WriteString(`# Settings of the controller

` + "`nvgre-ofctl controller --config nvgre.yaml`" + ` reads its settings from a YAML file, over it from the environment, over that
from its flags. This page is rendered from the declarations in package controller/settings; a test keeps it in step.

- Without ` + "`--config`" + ` the file is the one that ` + "`" + ConfigEnv + "`" + ` names, else ` + "`" + DefaultFile + "`" + ` where it exists, else none.
- A key that is not listed here, a value of the wrong kind or out of range stops the start, and all such problems are reported at once.
- A dot in a name stands for one level of nesting: ` + "`log.level`" + ` is ` + "`log: {level: info}`" + `.
- A relative path is relative to the directory of the settings file, or to the working directory when a flag or a variable gives it.
- A key without a value, and an empty variable, count as not given.
- Settings are read once. Of a running daemon only the policy changes: it is watched, and SIGHUP reads it again.

| setting | value | default | variable | flag |
|---|---|---|---|---|
`)
	for _, k := range Keys() {
		def := "nothing"
		if k.Default != "" {
			def = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "| [%s](#%s) | %s | %s | `%s` | `--%s` |\n", k.Name, strings.ReplaceAll(k.Name, ".", ""), k.Kind, def, k.Env(), k.Flag())
	}
	for _, k := range Keys() {
		fmt.Fprintf(&b, "\n## %s\n%s\n", k.Name, k.Doc)
	}
	b.WriteString(`
## An example
` + "```yaml" + `
policy: policy.yaml
log: {level: info, format: json}
tls: {ca: pki/ca.pem, certificate: pki/controller.pem, private-key: pki/controller.key}
hosts:
  - {name: h1, ovsdb: "unix:/run/openvswitch/db.sock", openflow: "unix:/run/openvswitch/br-int.mgmt"}
  - {name: h2, ovsdb: "ssl:192.0.2.2:6640", openflow: "ssl:192.0.2.2:6653", listener: "pssl:6653"}
` + "```" + `
Host h2 is reached over the network: [REMOTE.md](REMOTE.md) says what it needs.
`)
	return b.String()
}
