package hnv

import (
	"fmt"
	"slices"
	"strings"
)

// What a script may take: enough for a hundred thousand records on some hosts,
// and an end for one that has none.
const (
	defaultSteps = 30_000_000
	maxText      = 1 << 13
	maxList      = 1 << 17
	maxCalls     = 40
	maxNotes     = 10_000
)

// evaluator follows a script as far as it is about the policy. It runs nothing.
type evaluator struct {
	*script
	steps    int
	vars     []map[string]any // scopes, the innermost last
	funcs    map[string]*function
	host     string // where the commands apply: the ComputerName of Invoke-Command
	calls    int
	signal   string // break, continue, return, exit: on the way out
	stopped  bool
	state    *state
	notes    []Note
	noted    map[Note]bool
	problems []Problem
}

func (e *evaluator) note(kind Kind, offset int, format string, args ...any) {
	n := Note{Position: e.position(offset), Kind: kind, Message: fmt.Sprintf(format, args...)}
	if !e.noted[n] && len(e.notes) < maxNotes {
		e.noted[n] = true
		e.notes = append(e.notes, n)
	}
}

func (e *evaluator) problem(offset int, format string, args ...any) {
	p := Problem{Position: e.position(offset), Message: fmt.Sprintf(format, args...)}
	for _, q := range e.problems {
		if q.Position == p.Position && q.Message == p.Message {
			return
		}
	}
	if len(e.problems) < maxProblems {
		e.problems = append(e.problems, p)
	}
}

// step takes n steps of what the script may take.
func (e *evaluator) step(n node, cost int) bool {
	if e.stopped {
		return false
	}
	if e.steps -= cost; e.steps < 0 {
		e.stopped = true
		e.problems = append(e.problems, Problem{Position: e.position(n.offset()), Message: "the script takes more steps than are allowed: want a loop that ends, or the script in parts"})
		return false
	}
	return true
}

func (e *evaluator) lookup(name string) (any, bool) {
	for i := len(e.vars) - 1; i >= 0; i-- {
		if v, ok := e.vars[i][name]; ok {
			return v, true
		}
	}
	return nil, false
}

// run evaluates statements and returns what they put out.
func (e *evaluator) run(body []node) []any {
	var out []any
	for _, n := range body {
		if e.signal != "" || !e.step(n, 1) {
			break
		}
		out = append(out, e.statement(n)...)
		if len(out) > maxList {
			e.step(n, e.steps+1)
		}
	}
	return out
}

func (e *evaluator) statement(n node) []any {
	switch n := n.(type) {
	case *assign:
		e.assign(n)
		return nil
	case *ifStmt:
		return e.ifStatement(n)
	case *loop:
		return e.loop(n)
	case *foreach:
		v := e.value(n.in)
		if u, ok := v.(*unknown); ok {
			e.notTaken(n.at, n.body.policy, "the loop goes over %s, which is not known here", u.why)
			return nil
		}
		var out []any
		for _, x := range items(v) {
			if !e.step(n, 1) {
				break
			}
			e.set(n.name, x)
			out = append(out, e.run(n.body.body)...)
			if e.loopEnds() {
				break
			}
		}
		return out
	case *switchStmt:
		return e.switchStatement(n)
	case *function:
		e.funcs[n.name] = n
		return nil
	case *try:
		out := e.run(n.body.body)
		if n.policy {
			e.notTaken(n.at, true, "catch is for what went wrong")
		}
		if n.finally != nil {
			out = append(out, e.run(n.finally.body)...)
		}
		return out
	case *flow:
		var out []any
		if n.value != nil {
			out = items(e.value(n.value))
		}
		if n.kind == "throw" {
			e.note(Skipped, int(n.at), "throw: the script ends here")
			n = &flow{n.at, "exit", nil}
			out = nil
		}
		e.signal = n.kind
		return out
	case *skipped:
		e.notTaken(n.at, n.policy, "%s is not followed", n.what)
		return nil
	case *block:
		return e.run(n.body) // begin, process, end
	case *unary:
		if strings.HasSuffix(n.op, "++") || strings.HasSuffix(n.op, "--") {
			e.value(n)
			return nil
		}
	}
	return e.outputs(n)
}

// notTaken notes that a part of the script was left out.
func (e *evaluator) notTaken(at at, policy bool, format string, args ...any) {
	kind := Skipped
	if policy {
		kind = Lost
	}
	e.note(kind, int(at), format+": what is in it is left out", args...)
}

// loopEnds takes a break or continue and reports whether the loop ends.
func (e *evaluator) loopEnds() bool {
	switch e.signal {
	case "continue":
		e.signal = ""
	case "break":
		e.signal = ""
		return true
	case "":
	default:
		return true
	}
	return e.stopped
}

func (e *evaluator) ifStatement(n *ifStmt) []any {
	policy := false
	for _, b := range n.blocks {
		policy = policy || b.policy
	}
	for i, c := range n.conds {
		v := e.value(c)
		is, known := truth(v)
		if !known {
			e.notTaken(n.at, policy, "the condition hangs on %s, which is not known here", v.(*unknown).why)
			return nil
		}
		if is {
			return e.run(n.blocks[i].body)
		}
	}
	if len(n.blocks) > len(n.conds) {
		return e.run(n.blocks[len(n.conds)].body)
	}
	return nil
}

func (e *evaluator) loop(n *loop) []any {
	if n.init != nil {
		e.statement(n.init)
	}
	var out []any
	for first := true; e.step(n, 1); first = false {
		if n.cond != nil && !(first && n.after) {
			v := e.value(n.cond)
			is, known := truth(v)
			if !known {
				e.notTaken(n.at, n.body.policy, "the loop hangs on %s, which is not known here", v.(*unknown).why)
				return out
			}
			if is == n.until {
				return out
			}
		}
		out = append(out, e.run(n.body.body)...)
		if len(out) > maxList || e.loopEnds() {
			return out
		}
		if n.next != nil {
			e.statement(n.next)
		}
	}
	return out
}

func (e *evaluator) switchStatement(n *switchStmt) []any {
	policy := false
	for _, b := range n.blocks {
		policy = policy || b.policy
	}
	on := e.value(n.on)
	if u, ok := on.(*unknown); ok || n.unknown {
		why := "a pattern"
		if ok {
			why = u.why
		}
		e.notTaken(n.at, policy, "the switch hangs on %s, which is not known here", why)
		return nil
	}
	var out []any
	for _, x := range items(on) {
		found := false
		for i, c := range n.cases {
			if c == nil {
				continue
			}
			if is, ok := operate("eq", x, e.value(c)).(bool); ok && is {
				found = true
				out = append(out, e.run(n.blocks[i].body)...)
				if e.signal != "" {
					break
				}
			}
		}
		for i, c := range n.cases {
			if c == nil && !found {
				out = append(out, e.run(n.blocks[i].body)...)
			}
		}
		if e.loopEnds() {
			break
		}
	}
	return out
}

func (e *evaluator) set(name string, v any) {
	e.vars[len(e.vars)-1][name] = v
}

func (e *evaluator) assign(n *assign) {
	var v any
	switch x := n.value.(type) {
	case nil:
		return
	case *assign: // $a = $b = 1
		e.assign(x)
		v = e.value(x.to)
	default:
		v = collapseAs(x, e)
	}
	to := n.to
	for {
		c, ok := to.(*cast)
		if !ok || c.x == nil {
			break
		}
		v = convert(c.typ, v)
		to = c.x
	}
	if n.op != "=" {
		v = operate(n.op, e.value(to), v)
	}
	if l, ok := v.([]any); ok && !e.step(n, len(l)) {
		return
	}
	switch to := to.(type) {
	case *variable:
		if !to.env {
			e.set(to.name, v)
		}
	case *index:
		e.setElement(to, v)
	case *member:
		if h, ok := e.value(to.of).(*hash); ok {
			if s, u := asText(e.value(to.name)); u == nil {
				h.set(s, v)
			}
		}
	case *list:
		l := items(v)
		for i, x := range to.elems {
			if name, ok := x.(*variable); ok {
				e.set(name.name, element(l, int64(i)))
			}
		}
	}
}

func (e *evaluator) setElement(to *index, v any) {
	by := e.value(to.by)
	switch x := e.value(to.of).(type) {
	case *hash:
		if s, u := asText(by); u == nil {
			x.set(s, v)
		}
	case []any:
		// The list is copied: one that has itself in it would have no end.
		name, isName := to.of.(*variable)
		if i, ok := asNumber(by); ok && isName && i >= 0 && i < int64(len(x)) && e.step(to, len(x)) {
			x = slices.Clone(x)
			x[i] = v
			e.set(name.name, x)
		}
	}
}
