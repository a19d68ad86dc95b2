package hnv

import (
	"slices"
	"strings"
)

// policyCommand follows a cmdlet of module NetWNV: verb, and noun without its prefix.
func (e *evaluator) policyCommand(c *command, name string, input []any, piped bool) []any {
	verb, rest, _ := strings.Cut(name, "-netvirtualization")
	n := e.state.nouns[rest]
	if n == nil || verb != "new" && verb != "set" && verb != "remove" && verb != "get" {
		if verb == "get" || verb == "select" {
			e.note(Skipped, int(c.at), "%s: it only shows", name)
		} else {
			e.note(Lost, int(c.at), "%s is not known", name)
		}
		return []any{unknownf("the output of %s", name)}
	}
	names := []string{"cimsession", "computername", "throttlelimit", "asjob", "passthru", "inputobject"}
	for _, f := range n.fields {
		names = append(names, f.name)
	}
	b := e.bind(c, names, map[string]string{"session": "cimsession", "cn": "computername"})
	if b.bad != "" || len(b.rest) > 0 {
		if b.bad == "" {
			b.bad = "a value stands without its parameter"
		}
		if strings.HasPrefix(b.bad, "the parameters are") {
			e.note(Lost, int(c.at), "this %s: %s, which is not known here", n.what, b.bad)
		} else {
			e.problem(int(c.at), "%s: %s: want -Parameter value, with the parameters of the cmdlet", name, b.bad)
		}
		return nil
	}
	if is, _ := b.value("whatif").(bool); is {
		e.note(Skipped, int(c.at), "-WhatIf changes nothing")
		return nil
	}
	hosts, ok := e.hostsFor(c, n, b)
	if !ok {
		return nil
	}
	values := map[string][]string{}
	for _, f := range n.fields {
		if !b.has(f.name) {
			continue
		}
		v := b.value(f.name)
		if f.form == "any" {
			continue
		}
		if u := firstUnknown(v); u != nil {
			if f.remark && verb != "remove" {
				e.note(Skipped, b.at[f.name], "-%s: %s, which is not known here", f.name, u.why)
				continue
			}
			e.note(Lost, int(c.at), "this %s: -%s is %s, which is not known here", n.what, f.name, u.why)
			return nil
		}
		list := items(v)
		if len(list) != 1 && verb == "new" {
			e.problem(b.at[f.name], "-%s has %d values: want one", f.name, len(list))
			return nil
		}
		for _, x := range list {
			s, u := asText(x)
			if u != nil {
				e.note(Lost, int(c.at), "this %s: -%s is %s", n.what, f.name, u.why)
				return nil
			}
			s, err := canonical(f.form, s)
			if err != nil {
				e.problem(b.at[f.name], "-%s: %v", f.name, err)
				return nil
			}
			values[f.name] = append(values[f.name], s)
		}
	}
	switch verb {
	case "new":
		e.create(c, n, rest, name, hosts, values, b)
	default:
		return e.choose(c, n, verb, rest, hosts, values, append(items(b.value("inputobject")), input...), piped || b.has("inputobject"), b.has("cimsession") || b.has("computername"))
	}
	return nil
}

func firstUnknown(v any) *unknown {
	for _, x := range append(items(v), nil) {
		if u, ok := x.(*unknown); ok {
			return u
		}
	}
	return nil
}

// hostsFor returns the hosts that a command applies to.
func (e *evaluator) hostsFor(c *command, n *noun, b *binding) ([]string, bool) {
	for _, p := range []string{"cimsession", "computername"} {
		if !b.has(p) {
			continue
		}
		if hosts, ok := hostsOf(b.value(p)); ok {
			return hosts, true
		}
		if n.what == "lookup record" || n.what == "customer route" {
			return []string{e.host}, true // they are the same wherever they are
		}
		e.note(Lost, int(c.at), "this %s: which host it is set on is not known here", n.what)
		return nil, false
	}
	if m, ok := b.value("interfaceindex").(*machine); ok && e.host == "" {
		return []string{m.host}, true
	}
	return []string{e.host}, true
}

func (e *evaluator) create(c *command, n *noun, kind, name string, hosts []string, values map[string][]string, b *binding) {
	o := &object{at: int(c.at), values: map[string]string{}}
	var missing []string
	for _, f := range n.fields {
		if f.must && !b.has(f.name) {
			missing = append(missing, "-"+f.name)
		}
		if v := values[f.name]; len(v) > 0 {
			o.values[f.name] = v[0]
		}
	}
	if len(missing) > 0 {
		e.problem(int(c.at), "%s wants %s", name, strings.Join(missing, ", "))
		return
	}
	if e.state.has[kind] == nil {
		e.state.has[kind] = map[string][]*object{}
	}
	for _, h := range hosts {
		k := e.state.host(h)
		e.state.has[kind][k] = append(e.state.has[kind][k], o)
		e.step(c, 1)
	}
}

// choose follows Get-, Set- and Remove-, which choose objects by their fields.
func (e *evaluator) choose(c *command, n *noun, verb, kind string, hosts []string, values map[string][]string, input []any, given, named bool) []any {
	sel, change := selector{}, map[string]string{}
	for _, f := range n.fields {
		v, ok := values[f.name]
		switch {
		case !ok:
		case verb == "set" && f.set:
			change[f.name] = v[0]
		default:
			sel[f.name] = v
		}
	}
	if verb == "get" {
		out := []any{}
		for _, h := range hosts {
			for _, o := range e.state.has[kind][strings.ToLower(h)] {
				if sel.fits(o) {
					out = append(out, &chosen{kind, h, o})
				}
			}
		}
		e.step(c, len(out)+1)
		return out
	}
	picked := map[*object]bool{}
	if given {
		if !named {
			hosts = nil
		}
		for _, x := range input {
			switch x := x.(type) {
			case *chosen:
				picked[x.object] = true
				if !slices.Contains(hosts, x.host) && !named {
					hosts = append(hosts, x.host)
				}
			default:
				e.note(Lost, int(c.at), "which %s is changed is not known here", n.what)
				return nil
			}
		}
	}
	changed := 0
	for _, h := range hosts {
		k := strings.ToLower(h)
		all := e.state.has[kind][k]
		if !e.step(c, len(all)+1) {
			return nil
		}
		var left []*object
		for _, o := range all {
			switch {
			case !sel.fits(o) || given && !picked[o]:
				left = append(left, o)
			case verb == "set":
				changed++
				p := &object{at: int(c.at), values: map[string]string{}}
				for f, v := range o.values {
					p.values[f] = v
				}
				for f, v := range change {
					p.values[f] = v
				}
				left = append(left, p)
			default:
				changed++
			}
		}
		if len(all) > 0 {
			e.state.has[kind][k] = left
		}
	}
	if changed == 0 && verb == "set" && len(hosts) > 0 {
		e.note(Lost, int(c.at), "there is no %s that fits: nothing is changed", n.what)
	}
	return nil
}
