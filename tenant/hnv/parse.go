package hnv

import (
	"fmt"
	"strings"
	"unicode"
)

// maxDepth bounds how deep a script may nest.
const maxDepth = 120

// maxProblems is how many problems of form are reported.
const maxProblems = 50

// parser reads a script. It has no tokens: what a character means in PowerShell
// hangs on whether an expression is expected or a command's argument.
type parser struct {
	*script
	pos      int
	depth    int
	failed   bool // the statement is no statement; problems says why
	problems []problemAt
}

type problemAt struct {
	offset  int
	message string
}

// fail notes what is wrong. The first of a statement counts.
func (p *parser) fail(offset int, format string, args ...any) {
	if !p.failed {
		p.failed = true
		p.problems = append(p.problems, problemAt{offset, fmt.Sprintf(format, args...)})
	}
}

func (p *parser) peek() rune { return p.at(0) }

func (p *parser) at(n int) rune {
	if p.pos+n < len(p.text) {
		return p.text[p.pos+n]
	}
	return 0
}

// here returns the end of the text as its last character, which has a place.
func (p *parser) here() at { return at(p.pos) }

func (p *parser) leave() { p.depth-- }

// enter bounds the nesting; the caller leaves in any case.
func (p *parser) enter() bool {
	p.depth++
	if p.depth > maxDepth {
		p.fail(p.pos, "nests deeper than %d: want a simpler script", maxDepth)
		return false
	}
	return !p.failed
}

// space skips white space, comments and continued lines; newlines too where lines
// is true.
func (p *parser) space(lines bool) {
	for p.pos < len(p.text) {
		switch r := p.peek(); {
		case isSpace(r):
			p.pos++
		case isNewline(r) && lines:
			p.pos++
		case r == '`' && isNewline(p.at(1)):
			p.pos += 2
			if p.text[p.pos-1] == '\r' && p.peek() == '\n' {
				p.pos++
			}
		case r == '`' && isSpace(p.at(1)) && p.blankToEnd(1):
			// A blank behind the backtick is an oversight that nobody sees.
			for !isNewline(p.peek()) && p.pos < len(p.text) {
				p.pos++
			}
			p.pos++
			if p.pos <= len(p.text) && p.text[p.pos-1] == '\r' && p.peek() == '\n' {
				p.pos++
			}
		case r == '<' && p.at(1) == '#':
			start := p.pos
			for p.pos += 2; p.pos < len(p.text) && (p.peek() != '#' || p.at(1) != '>'); p.pos++ {
			}
			if p.pos >= len(p.text) {
				p.fail(start, "the comment <# has no end: want #>")
				return
			}
			p.pos += 2
		case r == '#':
			for p.pos < len(p.text) && !isNewline(p.peek()) {
				p.pos++
			}
		default:
			return
		}
	}
}

// blankToEnd reports whether nothing but blanks follows on the line, and a line
// after it.
func (p *parser) blankToEnd(n int) bool {
	for isSpace(p.at(n)) {
		n++
	}
	return isNewline(p.at(n))
}

// word returns the identifier that stands here, in lower case, without taking it.
func (p *parser) word() string {
	n := 0
	for r := p.at(n); unicode.IsLetter(r) || r == '_' || n > 0 && unicode.IsDigit(r); r = p.at(n) {
		n++
	}
	return strings.ToLower(string(p.text[p.pos : p.pos+n]))
}

// parseScript reads the whole script as a block.
func parseScript(s *script) (*block, []problemAt) {
	p := &parser{script: s}
	b := &block{}
	p.blockBody(b, 0)
	return b, p.problems
}

// blockBody reads statements until end, which is not taken, or the end of the script.
func (p *parser) blockBody(b *block, end rune) {
	p.space(true)
	start := p.pos
	for p.peek() == '[' && !p.failed && p.isAttribute() {
		p.skipBalanced()
		p.space(true)
	}
	if p.word() == "param" {
		mark := p.pos
		p.pos += 5
		p.space(true)
		if p.peek() == '(' {
			b.params = p.params()
		} else {
			p.pos = mark
		}
	} else {
		p.pos = start
	}
	b.body = p.statements(end)
}

// isAttribute reports whether [Word( stands here, as before a param block.
func (p *parser) isAttribute() bool {
	n := 1
	for unicode.IsLetter(p.at(n)) {
		n++
	}
	return n > 1 && p.at(n) == '('
}

func (p *parser) statements(end rune) []node {
	var out []node
	for !p.failed || end == 0 {
		if p.failed { // at the outermost level: go on behind the statement
			if len(p.problems) >= maxProblems || p.pos >= len(p.text) {
				return out
			}
			p.failed = false
			p.nextLine()
		}
		for p.space(true); p.peek() == ';' && !p.failed; p.space(true) {
			p.pos++
		}
		if p.failed {
			continue
		}
		if p.pos >= len(p.text) {
			if end != 0 {
				p.fail(p.pos, "the script ends inside a block: want %q", end)
			}
			return out
		}
		if r := p.peek(); r == end {
			return out
		} else if r == '}' || r == ')' {
			p.fail(p.pos, "%q closes nothing: want what opens it, or leave it out", r)
			p.pos++
			continue
		}
		start := p.pos
		if n := p.statement(); n != nil && !p.failed {
			out = append(out, n)
		}
		if p.failed {
			continue
		}
		p.space(false)
		if r := p.peek(); p.pos == start || p.pos < len(p.text) && r != ';' && r != end && !isNewline(r) && !endsStatement(p.text[start:p.pos]) {
			p.fail(p.pos, "%q is out of place: want the end of the statement", r)
		}
	}
	return out
}

// endsStatement reports whether the statement ends by its brace.
func endsStatement(s []rune) bool { return len(s) > 0 && s[len(s)-1] == '}' }

// nextLine goes to the next line that does not begin inside what was read wrong.
func (p *parser) nextLine() {
	for p.pos < len(p.text) && !isNewline(p.peek()) {
		p.pos++
	}
}

// skipBalanced skips a bracket with all that is in it.
func (p *parser) skipBalanced() {
	start, depth := p.pos, 0
	for p.pos < len(p.text) && !p.failed {
		switch r := p.peek(); {
		case isSingle(r):
			p.single()
			continue
		case isDouble(r):
			p.double()
			continue
		case r == '#' || r == '<' && p.at(1) == '#':
			p.space(true)
			continue
		case r == '(' || r == '[' || r == '{':
			depth++
		case r == ')' || r == ']' || r == '}':
			depth--
		}
		p.pos++
		if depth == 0 {
			return
		}
	}
	p.fail(start, "%q is never closed", p.text[start])
}

// params reads a parameter list in its parentheses.
func (p *parser) params() []param {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	start := p.pos
	var out []param
	for p.pos++; !p.failed; {
		p.space(true)
		for p.peek() == '[' && !p.failed {
			p.skipBalanced()
			p.space(true)
		}
		switch r := p.peek(); {
		case r == ')':
			p.pos++
			return out
		case r == ',':
			p.pos++
		case r == '$':
			v, ok := p.variable().(*variable)
			if !ok {
				p.fail(p.pos, "want the name of a parameter")
				break
			}
			q := param{name: v.name}
			p.space(true)
			if p.peek() == '=' {
				p.pos++
				p.space(true)
				q.value = p.binary(0, true)
			}
			out = append(out, q)
		default:
			p.fail(start, "the parameter list is not understood: want ($name, $name = value)")
		}
	}
	return nil
}

// braces reads a block in braces.
func (p *parser) braces() *block {
	defer p.leave()
	if !p.enter() {
		return &block{at: p.here()}
	}
	p.space(true)
	b := &block{at: p.here()}
	if p.peek() != '{' {
		p.fail(p.pos, "want { and a block")
		return b
	}
	p.pos++
	p.blockBody(b, '}')
	if !p.failed {
		p.pos++
	}
	b.policy = mentionsPolicy(p.text[b.at:min(p.pos, len(p.text))])
	return b
}

// mentionsPolicy reports whether a text has cmdlets of Network Virtualization.
func mentionsPolicy(s []rune) bool {
	t := strings.ToLower(string(s))
	return strings.Contains(t, "-netvirtualization") || strings.Contains(t, "virtualsubnetid")
}
