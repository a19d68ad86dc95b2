package hnv

import (
	"cmp"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// command follows a command, with what comes to it through the bar.
func (e *evaluator) command(c *command, input []any, piped bool) []any {
	if !e.step(c, 1) {
		return nil
	}
	if b, ok := c.name.(*block); ok { // & { ... }
		return e.call(c, b, e.bind(c, nil, nil))
	}
	v := e.value(c.name)
	if b, ok := v.(*block); ok { // & $name
		return e.call(c, b, e.bind(c, nil, nil))
	}
	name, u := asText(v)
	if u != nil {
		e.note(Lost, int(c.at), "which command this is hangs on %s, which is not known here", u.why)
		return []any{u}
	}
	name = strings.Map(func(r rune) rune {
		if isDash(r) {
			return '-'
		}
		return r
	}, strings.ToLower(name))
	if i := strings.LastIndexByte(name, '\\'); i >= 0 && strings.Contains(name, "netwnv\\") {
		name = name[i+1:]
	}
	if f := e.funcs[name]; f != nil {
		return e.call(c, f.body, e.bind(c, nil, nil))
	}
	if strings.Contains(name, "-netvirtualization") {
		return e.policyCommand(c, name, input, piped)
	}
	switch name {
	case "foreach-object", "foreach", "%":
		return e.forEach(c, input)
	case "where-object", "where", "?":
		return e.where(c, input)
	case "select-object", "select", "sort-object", "sort", "get-unique", "write-output", "echo", "tee-object":
		b := e.bind(c, nil, nil)
		if strings.HasPrefix(name, "w") || name == "echo" {
			return b.rest
		}
		if len(b.named) == 0 && len(b.rest) == 0 {
			return input
		}
		if n, ok := asNumber(b.value("first")); ok && b.has("first") && n >= 0 && len(b.named) == 1 {
			return input[:min(n, int64(len(input)))]
		}
		if p, u := asText(b.value("expandproperty")); u == nil && b.has("expandproperty") {
			var out []any
			for _, x := range input {
				out = append(out, items(property(x, p))...)
			}
			return out
		}
		return []any{unknownf("the output of %s", name)}
	case "out-null", "out-default", "out-host", "format-list", "fl", "format-table", "ft":
		return nil
	case "invoke-command", "icm":
		return e.invoke(c)
	case "new-cimsession", "new-pssession", "get-cimsession", "get-pssession", "nsn":
		b := e.bind(c, nil, map[string]string{"cn": "computername"})
		of := b.value("computername")
		if !b.has("computername") && len(b.rest) > 0 {
			of = b.rest[0]
		}
		hosts, ok := hostsOf(of)
		if !ok {
			return []any{unknownf("a session to a host that the script does not name")}
		}
		out := make([]any, len(hosts))
		for i, h := range hosts {
			out[i] = &machine{h}
		}
		return out
	case "get-netadapter", "get-netipinterface", "get-netipaddress":
		b := e.bind(c, nil, map[string]string{"session": "cimsession"})
		if hosts, ok := hostsOf(b.value("cimsession")); ok && len(hosts) == 1 {
			return []any{&machine{hosts[0]}}
		}
		return []any{&machine{e.host}}
	case "get-vmnetworkadapter":
		return e.getAdapter(c, input)
	case "get-vm":
		b := e.bind(c, nil, map[string]string{"vmname": "name"})
		of := b.value("name")
		if !b.has("name") && len(b.rest) > 0 {
			of = b.rest[0]
		}
		return e.adapters(b, of)
	case "set-vmnetworkadapter":
		e.setAdapter(c, input, piped)
		return nil
	case "set-variable", "new-variable":
		b := e.bind(c, nil, nil)
		args := append([]any{}, b.rest...)
		if b.has("value") {
			args = append(args, b.value("value"))
		}
		if b.has("name") {
			args = append([]any{b.value("name")}, args...)
		}
		if len(args) == 2 {
			if s, u := asText(args[0]); u == nil {
				e.set(strings.ToLower(s), args[1])
			}
		}
		return nil
	}
	return e.foreign(c, name)
}

// foreign notes a command that is not followed.
func (e *evaluator) foreign(c *command, name string) []any {
	kind, what := Skipped, ""
	for _, a := range c.args {
		if b, ok := a.value.(*block); ok && b.policy {
			kind, what = Lost, ", with the Network Virtualization cmdlets in its block"
		}
	}
	switch {
	case strings.HasPrefix(name, ". ") || strings.HasSuffix(name, ".ps1"):
		kind, what = Lost, ": it is another script: import it by itself"
	case name == "invoke-expression" || name == "iex" || name == "start-job":
		kind = Lost
	}
	e.note(kind, int(c.at), "%s%s", cmp.Or(strings.TrimPrefix(name, ". "), "a command without a name"), what)
	return []any{unknownf("the output of %s", strings.TrimPrefix(name, ". "))}
}

// call runs a block with arguments in a scope of its own.
func (e *evaluator) call(c *command, body *block, b *binding) []any {
	if e.calls >= maxCalls {
		e.note(Lost, int(c.at), "calls nest deeper than %d: what is called is left out", maxCalls)
		return nil
	}
	scope := map[string]any{"args": b.rest}
	rest := b.rest
	for _, p := range body.params {
		switch v, ok := b.named[p.name]; {
		case ok:
			scope[p.name] = v
		case len(rest) > 0:
			scope[p.name], rest = rest[0], rest[1:]
		case p.value != nil:
			scope[p.name] = e.value(p.value)
		default:
			scope[p.name] = nil
		}
	}
	e.calls++
	e.vars = append(e.vars, scope)
	out := e.run(body.body)
	e.vars = e.vars[:len(e.vars)-1]
	e.calls--
	if e.signal == "return" {
		e.signal = ""
	}
	return out
}

// within runs a block with $_ as x, in the scope where it stands.
func (e *evaluator) within(c node, body *block, x any) []any {
	if e.calls >= maxCalls {
		e.note(Lost, c.offset(), "blocks nest deeper than %d: what is in them is left out", maxCalls)
		return nil
	}
	old, had := e.vars[len(e.vars)-1]["_"]
	e.set("_", x)
	e.set("psitem", x)
	e.calls++
	out := e.run(body.body)
	e.calls--
	if e.signal == "return" || e.signal == "continue" {
		e.signal = ""
	}
	if had {
		e.set("_", old)
	} else {
		delete(e.vars[len(e.vars)-1], "_")
	}
	return out
}

func (e *evaluator) forEach(c *command, input []any) []any {
	b := e.bind(c, nil, nil)
	body, ok := collapse(append(items(b.value("process")), b.rest...)).(*block)
	if !ok {
		return []any{unknownf("the output of ForEach-Object")}
	}
	var out []any
	for _, x := range input {
		if u, ok := x.(*unknown); ok {
			e.notTaken(c.at, body.policy, "the loop goes over %s, which is not known here", u.why)
			return []any{u}
		}
		out = append(out, e.within(c, body, x)...)
		if e.signal != "" || !e.step(c, 1) {
			break
		}
	}
	return out
}

// where keeps what a condition is true of. Of adapters of VMs it notes the MAC.
func (e *evaluator) where(c *command, input []any) []any {
	b := e.bind(c, nil, nil)
	body, _ := collapse(append(items(b.value("filterscript")), b.rest...)).(*block)
	var out []any
	for _, x := range input {
		if a, ok := x.(*vmAdapter); ok {
			out = append(out, e.whereAdapter(c, body, b, a))
			continue
		}
		if body == nil {
			out = append(out, unknownf("what Where-Object leaves"))
			continue
		}
		is, known := truth(collapse(e.within(c, body, x)))
		if !known {
			return []any{unknownf("what Where-Object leaves")}
		}
		if is {
			out = append(out, x)
		}
	}
	return out
}

// whereAdapter reads { $_.MacAddress -eq "..." } and MacAddress -eq "...".
func (e *evaluator) whereAdapter(c *command, body *block, b *binding, a *vmAdapter) any {
	out := *a
	var read func(n node) bool
	read = func(n node) bool {
		op, ok := n.(*binary2)
		if !ok {
			return false
		}
		if op.op == "and" {
			return read(op.l) && read(op.r)
		}
		m, ok := op.l.(*member)
		if !ok || op.op != "eq" && op.op != "like" && op.op != "match" {
			return false
		}
		name, _ := asText(e.value(m.name))
		return e.narrow(&out, name, e.value(op.r))
	}
	ok := false
	switch {
	case body != nil && len(body.body) == 1:
		ok = read(body.body[0])
	case body == nil && len(b.rest) == 1 && b.has("eq"):
		name, _ := asText(b.rest[0])
		ok = e.narrow(&out, name, b.value("eq"))
	}
	if !ok {
		e.note(Assumed, int(c.at), "the condition is taken to be true of the adapter: it is not known here")
	}
	return &out
}

func (e *evaluator) narrow(a *vmAdapter, name string, v any) bool {
	s, u := asText(v)
	if u != nil {
		return false
	}
	switch strings.ToLower(name) {
	case "macaddress":
		m, err := tenant.ParseMAC(s)
		if err != nil {
			return false
		}
		a.mac = m.String()
	case "vmname":
		a.vms = []string{s}
	case "name":
	default:
		return false
	}
	return true
}

// invoke follows Invoke-Command: its block applies to the hosts that it names.
func (e *evaluator) invoke(c *command) []any {
	b := e.bind(c, nil, map[string]string{"cn": "computername", "args": "argumentlist", "command": "scriptblock"})
	body, _ := b.value("scriptblock").(*block)
	on := b.value("computername")
	if b.has("session") {
		on = b.value("session")
	}
	for _, x := range b.rest {
		if bl, ok := x.(*block); ok && body == nil {
			body = bl
		} else if on == nil {
			on = x
		}
	}
	if body == nil {
		e.note(Lost, int(c.at), "Invoke-Command: what it runs is not known here")
		return []any{unknownf("the output of Invoke-Command")}
	}
	hosts := []string{e.host}
	if on != nil {
		var ok bool
		if hosts, ok = hostsOf(on); !ok {
			e.notTaken(c.at, body.policy, "Invoke-Command: the host is not known here")
			return []any{unknownf("the output of Invoke-Command")}
		}
	}
	var out []any
	old := e.host
	for _, h := range hosts {
		e.host = h
		out = append(out, e.call(c, body, &binding{rest: items(b.value("argumentlist"))})...)
	}
	e.host = old
	return out
}

// adapters returns the adapters of the VMs that v names.
func (e *evaluator) adapters(b *binding, v any) []any {
	host := e.host
	for _, p := range []string{"computername", "cimsession"} {
		if hosts, ok := hostsOf(b.value(p)); ok && b.has(p) {
			host = hosts[0]
		}
	}
	a := &vmAdapter{host: host}
	for _, x := range items(v) {
		switch x := x.(type) {
		case *vmAdapter:
			y := *x
			return []any{&y}
		case *unknown:
			return []any{x}
		default:
			if s, u := asText(x); u == nil && s != "*" {
				a.vms = append(a.vms, s)
			}
		}
	}
	return []any{a}
}

func (e *evaluator) getAdapter(c *command, input []any) []any {
	b := e.bind(c, nil, map[string]string{"vm": "vmname"})
	of := b.value("vmname")
	if !b.has("vmname") && len(b.rest) > 0 {
		of = b.rest[0]
	} else if !b.has("vmname") && len(input) > 0 {
		of = input
	}
	return e.adapters(b, of)
}

// setAdapter follows Set-VMNetworkAdapter -VirtualSubnetId, which attaches a VM.
func (e *evaluator) setAdapter(c *command, input []any, piped bool) {
	b := e.bind(c, nil, map[string]string{"vsid": "virtualsubnetid", "vm": "vmname"})
	if !b.has("virtualsubnetid") {
		e.note(Skipped, int(c.at), "Set-VMNetworkAdapter without -VirtualSubnetId")
		return
	}
	vsid, u := asText(b.value("virtualsubnetid"))
	if u != nil {
		e.note(Lost, int(c.at), "this attachment: -VirtualSubnetId is %s, which is not known here", u.why)
		return
	}
	vsid, err := canonical("number", vsid)
	if err != nil {
		e.problem(int(c.at), "-VirtualSubnetId: %v", err)
		return
	}
	of := input
	if !piped {
		v := b.value("vmname")
		if b.has("vmnetworkadapter") {
			v = b.value("vmnetworkadapter")
		} else if !b.has("vmname") && len(b.rest) > 0 {
			v = b.rest[0]
		}
		of = e.adapters(b, v)
	}
	mac := ""
	if s, u := asText(b.value("staticmacaddress")); u == nil && s != "" {
		if m, err := tenant.ParseMAC(s); err == nil {
			mac = m.String()
		}
	}
	if vsid == "0" {
		e.note(Skipped, int(c.at), "Set-VMNetworkAdapter -VirtualSubnetId 0 takes the VM out of its subnet")
		return
	}
	for _, x := range of {
		a, ok := x.(*vmAdapter)
		if !ok || len(a.vms) == 0 && a.mac == "" && mac == "" {
			e.note(Lost, int(c.at), "this attachment: which VM it is of is not known here")
			continue
		}
		vms := a.vms
		if len(vms) == 0 {
			vms = []string{""}
		}
		for _, vm := range vms {
			e.state.attachments = append(e.state.attachments, &attachment{at: int(c.at), host: a.host, vm: vm, mac: cmp.Or(mac, a.mac), vsid: vsid})
		}
	}
}
