package hnv

import "strings"

// outputs evaluates an expression, a command or a pipeline as a statement.
func (e *evaluator) outputs(n node) []any {
	switch n := n.(type) {
	case *command:
		return e.command(n, nil, false)
	case *pipeline:
		var out []any
		for i, part := range n.parts {
			if c, ok := part.(*command); ok {
				out = e.command(c, out, i > 0)
			} else if i == 0 {
				out = items(e.value(part))
			} else {
				e.note(Skipped, part.offset(), "an expression behind a bar is not followed")
				return []any{unknownf("the output of a pipeline")}
			}
		}
		return out
	}
	return items(e.value(n))
}

// value evaluates n as a value.
func (e *evaluator) value(n node) any {
	if n == nil || !e.step(n, 1) {
		return nil
	}
	switch n := n.(type) {
	case *number:
		return n.value
	case *text:
		return e.text(n)
	case *variable:
		return e.variable(n)
	case *list:
		out := make([]any, len(n.elems))
		for i, x := range n.elems {
			out[i] = e.value(x)
		}
		return out
	case *sub:
		out := e.run(n.body)
		if n.array {
			return append([]any{}, out...)
		}
		return collapse(out)
	case *table:
		h := &hash{values: map[string]any{}}
		for i, k := range n.keys {
			s, _ := asText(e.value(k))
			h.set(s, collapseAs(n.values[i], e))
		}
		return h
	case *block:
		return n
	case *binary2:
		return e.binary(n)
	case *unary:
		return e.unary(n)
	case *cast:
		if n.x == nil {
			return unknownf("the type %s", n.typ)
		}
		v := e.value(n.x)
		if !e.step(n, size(v)) {
			return nil
		}
		return convert(n.typ, v)
	case *member:
		return e.member(n)
	case *index:
		of, by := e.value(n.of), e.value(n.by)
		cost := size(by)
		if _, ok := of.(string); ok {
			cost += size(of)
		}
		if !e.step(n, cost) {
			return nil
		}
		return element(of, by)
	case *command, *pipeline:
		return collapse(e.outputs(n))
	}
	return collapse(e.statement(n))
}

// collapseAs evaluates a statement as a value; an array stays one.
func collapseAs(n node, e *evaluator) any {
	switch n.(type) {
	case *assign, *ifStmt, *loop, *foreach, *switchStmt, *function, *try, *flow, *skipped:
		return collapse(e.statement(n))
	}
	return e.value(n)
}

func (e *evaluator) text(n *text) any {
	if len(n.parts) == 1 {
		if s, ok := n.parts[0].(string); ok && len(s) <= maxText {
			return s
		}
	}
	var b strings.Builder
	for _, part := range n.parts {
		switch part := part.(type) {
		case string:
			b.WriteString(part)
		case node:
			s, u := asText(e.value(part))
			if u != nil {
				return u
			}
			b.WriteString(s)
		}
		if b.Len() > maxText {
			return unknownf("a text of more than %d octets", maxText)
		}
	}
	e.step(n, b.Len()/8)
	return b.String()
}

func (e *evaluator) variable(n *variable) any {
	switch n.name {
	case "true":
		return true
	case "false":
		return false
	case "null":
		return nil
	}
	if n.env {
		return unknownf("$%s", n.name)
	}
	if v, ok := e.lookup(n.name); ok {
		return v
	}
	return unknownf("$%s, which the script gives no value", n.name)
}

func (e *evaluator) binary(n *binary2) any {
	switch n.op {
	case "and", "or", "xor":
		l, known := truth(e.value(n.l))
		if known && n.op != "xor" && l == (n.op == "or") {
			return l
		}
		r, rKnown := truth(e.value(n.r))
		switch {
		case rKnown && n.op != "xor" && r == (n.op == "or"):
			return r
		case !known || !rKnown:
			return unknownf("what only Windows can tell")
		case n.op == "xor":
			return l != r
		}
		return r
	case "is", "isnot":
		return unknownf("the type of a value")
	}
	l, r := e.value(n.l), e.value(n.r)
	if !e.step(n, size(l)+size(r)) {
		return nil
	}
	v := operate(n.op, l, r)
	if s, ok := v.(string); ok && len(s) > maxText {
		return unknownf("a text of more than %d octets", maxText)
	}
	e.step(n, size(v))
	return v
}

func (e *evaluator) unary(n *unary) any {
	switch n.op {
	case "not":
		v := e.value(n.x)
		is, known := truth(v)
		if !known {
			return v
		}
		return !is
	case "-":
		return operate("-", int64(0), e.value(n.x))
	case "+":
		return operate("+", int64(0), e.value(n.x))
	case "join":
		return joined(items(e.value(n.x)), "")
	case "split":
		return split(e.value(n.x), []any{`\s+`})
	case "++", "--", "post++", "post--":
		old := e.value(n.x)
		v := operate(n.op[len(n.op)-1:], old, int64(1))
		if to, ok := n.x.(*variable); ok && !to.env {
			e.set(to.name, v)
		}
		if strings.HasPrefix(n.op, "post") {
			return old
		}
		return v
	}
	return unknownf("the operator -%s", n.op)
}

func (e *evaluator) member(n *member) any {
	name, u := asText(e.value(n.name))
	if u != nil {
		return u
	}
	if n.static {
		if c, ok := n.of.(*cast); ok && c.x == nil && n.call && c.typ == "guid" && strings.EqualFold(name, "newguid") {
			return unknownf("a new GUID, which is another one in each run")
		}
		return unknownf("a member of a .NET type")
	}
	of := e.value(n.of)
	args := make([]any, len(n.args))
	for i, a := range n.args {
		args[i] = e.value(a)
	}
	if _, ok := of.([]any); n.call || ok {
		e.step(n, size(of))
	}
	if n.call {
		v := method(of, name, args)
		if s, ok := v.(string); ok && len(s) > maxText {
			return unknownf("a text of more than %d octets", maxText)
		}
		return v
	}
	return property(of, name)
}

// convert is the cast of v to a type.
func convert(typ string, v any) any {
	if _, ok := v.(*unknown); ok {
		return v
	}
	typ = strings.TrimPrefix(typ, "system.")
	switch typ {
	case "string", "guid", "ipaddress", "net.ipaddress":
		s, u := asText(v)
		if u != nil {
			return u
		}
		return s
	case "int", "int32", "int64", "uint32", "uint64", "long", "byte", "uint16", "int16":
		n, ok := asNumber(v)
		if !ok {
			return unknownf("a number that is none")
		}
		return n
	case "bool", "boolean", "switch":
		is, known := truth(v)
		if !known {
			return v
		}
		return is
	case "void":
		return nil
	case "array":
		return append([]any{}, items(v)...)
	}
	if elem, ok := strings.CutSuffix(typ, "[]"); ok {
		if strings.HasSuffix(elem, "[]") {
			return v
		}
		out := make([]any, 0)
		for _, x := range items(v) {
			out = append(out, convert(elem, x))
		}
		return out
	}
	return v
}
