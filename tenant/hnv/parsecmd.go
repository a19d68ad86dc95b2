package hnv

import (
	"strings"
	"unicode"
)

// command reads a command with its arguments.
func (p *parser) command() node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	c := &command{at: p.here()}
	r := p.peek()
	switch {
	case r == '&', r == '.' && (isSpace(p.at(1)) || p.at(1) == '{'):
		// The call operator: what follows is the name, or a block.
		p.pos++
		p.space(false)
		if p.peek() == '{' {
			c.name = p.braces()
		} else {
			c.name = p.argumentValue()
		}
		if r == '.' {
			if t, ok := c.name.(*text); ok {
				t.parts = append([]any{". "}, t.parts...)
			}
		}
	case endsWord(r):
		p.fail(p.pos, "%q is out of place: want a command or a value", r)
		return nil
	default:
		c.name = p.bareWord()
	}
	for !p.failed {
		p.space(false)
		if p.redirections(); p.failed {
			break
		}
		r, start := p.peek(), p.here()
		if p.pos >= len(p.text) || isNewline(r) || r == ';' || r == '|' || r == ')' || r == '}' || r == '&' {
			if r == '&' || r == '|' && p.at(1) == '|' {
				p.fail(p.pos, "&& and || are not understood: want a statement for each command")
			}
			break
		}
		switch {
		case isDash(r) && isDash(p.at(1)) && p.at(2) == '%':
			for p.pos < len(p.text) && !isNewline(p.peek()) {
				p.pos++
			}
		case isDash(r) && (unicode.IsLetter(p.at(1)) || p.at(1) == '_'):
			p.pos++
			from := p.pos
			for r := p.peek(); unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || isDash(r); r = p.peek() {
				p.pos++
			}
			a := argument{at: start, param: strings.ToLower(string(p.text[from:p.pos]))}
			if p.peek() == ':' {
				p.pos++
				p.space(false)
				a.value = p.argumentList()
			}
			c.args = append(c.args, a)
		case r == '@' && (unicode.IsLetter(p.at(1)) || p.at(1) == '_'):
			v := p.variable()
			c.args = append(c.args, argument{at: start, value: v, splat: true})
		default:
			c.args = append(c.args, argument{at: start, value: p.argumentList()})
		}
		if p.pos == int(start) {
			p.fail(p.pos, "%q is out of place", r)
		}
	}
	return c
}

// argumentList reads an argument, or several with commas between them.
func (p *parser) argumentList() node {
	l := &list{at: p.here()}
	for !p.failed {
		l.elems = append(l.elems, p.argumentValue())
		mark := p.pos
		p.space(false)
		if p.peek() != ',' {
			p.pos = mark
			break
		}
		p.pos++
		p.space(true)
	}
	if len(l.elems) == 1 {
		return l.elems[0]
	}
	return l
}

// argumentValue reads one argument.
func (p *parser) argumentValue() node {
	start := p.here()
	r, next := p.peek(), p.at(1)
	var n node
	switch {
	case r == '{':
		return p.braces()
	case r == '(' || r == '$' && (next == '(' || unicode.IsLetter(next) || next == '_' || next == '{' || next == '?' || next == '$'):
		n = p.postfix(p.primary(), true)
	case r == '@' && (next == '(' || next == '{' || isSingle(next) || isDouble(next)):
		return p.postfix(p.primary(), true)
	case isSingle(r), isDouble(r):
		n = p.postfix(p.primary(), true)
	default:
		if endsWord(r) && p.pos < len(p.text) {
			p.fail(p.pos, "%q is out of place: want a value", r)
			return nil
		}
		return p.bareWord()
	}
	// $subnet/24 and "a"b are one word.
	if r != '(' && !p.failed && !endsWord(p.peek()) && p.peek() != '`' && p.pos < len(p.text) {
		if rest, ok := p.bareWord().(*text); ok {
			return &text{start, append([]any{n}, rest.parts...)}
		}
	}
	return n
}

// redirections skips what sends a command's output elsewhere.
func (p *parser) redirections() {
	for !p.failed {
		p.space(false)
		n := 0
		if unicode.IsDigit(p.peek()) || p.peek() == '*' {
			n = 1
		}
		if p.at(n) != '>' {
			return
		}
		p.pos += n + 1
		if p.peek() == '>' {
			p.pos++
		}
		if p.peek() == '&' {
			p.pos = min(p.pos+2, len(p.text))
			continue
		}
		p.space(false)
		p.argumentValue()
	}
}
