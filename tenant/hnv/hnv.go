// Package hnv reads and writes the policy of Hyper-V Network Virtualization as
// administrators have it: PowerShell scripts of the cmdlets of module NetWNV.
//
// [Import] follows a script as far as it is about the policy, and runs nothing: it
// knows the cmdlets for lookup records, customer routes, provider addresses and
// provider routes, those that attach VMs, and as much of the language as such
// scripts have. What it passes over is said, with its place. [Export] writes a
// policy as such a script.
package hnv

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// MaxSize is the largest script that is read, in octets.
const MaxSize = 16 << 20

// Kind says what a note is about.
type Kind uint8

// The kinds of notes.
const (
	// Skipped is a part of the script that has no bearing on the policy.
	Skipped Kind = iota + 1
	// Assumed is a choice that the script left open.
	Assumed
	// Lost is a part of the script's policy that is not in the result.
	Lost
)

// String returns the words that a note of that kind begins with.
func (k Kind) String() string {
	switch k {
	case Skipped:
		return "skipped"
	case Assumed:
		return "assumed"
	case Lost:
		return "not carried over"
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// Note says what became of a part of the script.
type Note struct {
	Position tenant.Position
	Kind     Kind
	Message  string
}

// String returns file:line:column: kind: message.
func (n Note) String() string {
	return strings.TrimPrefix(fmt.Sprintf("%s: %s: %s", n.Position, n.Kind, n.Message), ": ")
}

// Problem is one reason why a script gives no policy.
type Problem struct {
	Position tenant.Position
	// Message says what is wrong and what would be right.
	Message string
	// Related holds the places that take part.
	Related []tenant.Position
}

// String returns file:line:column: message.
func (p Problem) String() string {
	s := strings.TrimPrefix(p.Position.String()+": "+p.Message, ": ")
	for i, r := range p.Related {
		s += []string{" (see ", ", "}[min(i, 1)] + r.String()
	}
	if len(p.Related) > 0 {
		s += ")"
	}
	return s
}

// Error says why a script gives no policy. Problems is never empty and stands in
// the order of the script.
type Error struct{ Problems []Problem }

// Error returns all problems, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Options are what a script does not say itself.
type Options struct {
	// LocalHost is the name of the host that commands without -CimSession and
	// -ComputerName apply to; "" is localhost.
	LocalHost string
	// steps bounds the work; 0 is the default.
	steps int
}

// Import reads data as a script of that name and returns the policy, of revision
// 0, that it sets up on hosts without any. The notes are in the order of the
// script, and there in any case. The error is an [*Error] with places in the script.
func Import(name string, data []byte, o Options) (*tenant.Policy, []Note, error) {
	if len(data) > MaxSize {
		return nil, nil, &Error{[]Problem{{Message: fmt.Sprintf("%s: has more than %d octets: want a script, or the script in parts", name, MaxSize)}}}
	}
	s, err := newScript(name, data)
	if err != nil {
		return nil, nil, &Error{[]Problem{{Message: err.Error()}}}
	}
	body, bad := parseScript(s)
	if len(bad) > 0 {
		out := &Error{}
		for _, b := range bad {
			out.Problems = append(out.Problems, Problem{Position: s.position(b.offset), Message: b.message})
		}
		return nil, nil, out
	}
	e := &evaluator{script: s, steps: cmp.Or(o.steps, defaultSteps), vars: []map[string]any{{}}, funcs: map[string]*function{},
		noted: map[Note]bool{}, state: newState()}
	for _, p := range body.params {
		e.set(p.name, unknownf("the parameter $%s", p.name))
		if p.value != nil {
			e.set(p.name, e.value(p.value))
		}
	}
	e.run(body.body)
	var policy *tenant.Policy
	if len(e.problems) == 0 {
		b := &builder{evaluator: e, local: cmp.Or(o.LocalHost, "localhost")}
		policy = b.policy()
	}
	slices.SortStableFunc(e.notes, func(a, b Note) int { return comparePlace(a.Position, b.Position) })
	if len(e.problems) > 0 {
		slices.SortStableFunc(e.problems, func(a, b Problem) int { return comparePlace(a.Position, b.Position) })
		return nil, e.notes, &Error{e.problems}
	}
	return policy, e.notes, nil
}

func comparePlace(a, b tenant.Position) int {
	return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
}
