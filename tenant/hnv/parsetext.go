package hnv

import (
	"strings"
	"unicode"
)

// variable reads $name, ${name}, $scope:name.
func (p *parser) variable() node {
	start := p.here()
	p.pos++
	name := ""
	switch r := p.peek(); {
	case r == '{':
		from := p.pos + 1
		for p.pos++; p.pos < len(p.text) && p.peek() != '}'; p.pos++ {
		}
		if p.pos >= len(p.text) {
			p.fail(int(start), "${ is never closed")
			return nil
		}
		name = string(p.text[from:p.pos])
		p.pos++
	case r == '$' || r == '?' || r == '^':
		name = string(r)
		p.pos++
	default:
		from := p.pos
		for r := p.peek(); unicode.IsLetter(r) || unicode.IsDigit(r) || r == '_' || r == ':' && p.at(1) != ':' && (unicode.IsLetter(p.at(1)) || p.at(1) == '_') && p.pos > from; r = p.peek() {
			p.pos++
		}
		name = string(p.text[from:p.pos])
	}
	if name == "" {
		p.fail(int(start), "$ stands alone: want the name of a variable")
		return nil
	}
	v := &variable{at: start, name: strings.ToLower(name)}
	if scope, rest, ok := strings.Cut(v.name, ":"); ok {
		switch scope {
		case "script", "global", "local", "private", "using", "variable":
			v.name = rest
		default:
			v.env = true
		}
	}
	return v
}

// single reads a string in single quotes.
func (p *parser) single() node {
	start := p.here()
	var b strings.Builder
	for p.pos++; p.pos < len(p.text); p.pos++ {
		r := p.peek()
		if isSingle(r) {
			if !isSingle(p.at(1)) {
				p.pos++
				return &text{start, []any{b.String()}}
			}
			p.pos++
			r = p.peek()
		}
		b.WriteRune(r)
	}
	p.fail(int(start), "the string has no end: want a closing quote")
	return nil
}

// double reads a string in double quotes.
func (p *parser) double() node {
	start := p.here()
	t := &text{at: start}
	p.pos++
	p.expand(t, func() int {
		if !isDouble(p.peek()) {
			return 0
		}
		if isDouble(p.at(1)) {
			return -1
		}
		return 1
	})
	return t
}

// expand reads text with variables in it up to where end says so: end returns how
// many characters end it, 0 for none, -1 for a doubled quote.
func (p *parser) expand(t *text, end func() int) {
	defer p.leave()
	if !p.enter() {
		return
	}
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			t.parts = append(t.parts, b.String())
			b.Reset()
		}
	}
	for p.pos < len(p.text) && !p.failed {
		if n := end(); n > 0 {
			p.pos += n
			flush()
			return
		} else if n < 0 {
			p.pos++
			b.WriteRune(p.peek())
			p.pos++
			continue
		}
		switch r, next := p.peek(), p.at(1); {
		case r == '`' && p.pos+1 < len(p.text):
			p.pos += 2
			b.WriteString(escaped(next))
		case r == '$' && next == '(':
			flush()
			start := p.here()
			p.pos++
			t.parts = append(t.parts, p.sub(start, false))
		case r == '$' && (unicode.IsLetter(next) || next == '_' || next == '{'):
			flush()
			t.parts = append(t.parts, p.variable())
		default:
			b.WriteRune(r)
			p.pos++
		}
	}
	p.fail(int(t.at), "the string has no end: want a closing quote")
}

// escaped returns what a backtick before r makes of it.
func escaped(r rune) string {
	switch r {
	case 'n':
		return "\n"
	case 'r':
		return "\r"
	case 't':
		return "\t"
	case '0':
		return "\x00"
	case 'a', 'b', 'f', 'v', 'e':
		return " "
	}
	return string(r)
}

// hereString reads @' '@ or @" "@, whose quotes stand at the ends of lines.
func (p *parser) hereString(start at) node {
	quote := isSingle
	if isDouble(p.at(1)) {
		quote = isDouble
	}
	p.pos += 2
	for isSpace(p.peek()) {
		p.pos++
	}
	if !isNewline(p.peek()) {
		p.fail(int(start), "a here-string begins on the line after %q", string(p.text[start:start+2]))
		return nil
	}
	if p.peek() == '\r' && p.at(1) == '\n' {
		p.pos++
	}
	p.pos++
	first := p.pos
	t := &text{at: start}
	end := func() int {
		n := 0
		switch {
		case p.pos == first:
		case p.peek() == '\r' && p.at(1) == '\n':
			n = 2
		case isNewline(p.peek()):
			n = 1
		default:
			return 0
		}
		if quote(p.at(n)) && p.at(n+1) == '@' {
			return n + 2
		}
		return 0
	}
	if isDouble(p.text[start+1]) {
		p.expand(t, end)
		return t
	}
	from := p.pos
	for p.pos < len(p.text) {
		if n := end(); n > 0 {
			t.parts = []any{string(p.text[from:p.pos])}
			p.pos += n
			return t
		}
		p.pos++
	}
	p.fail(int(start), "the here-string has no end: want its closing quote at the beginning of a line")
	return nil
}

// endsWord reports whether r ends a word of a command.
func endsWord(r rune) bool {
	return r == 0 || isSpace(r) || isNewline(r) || r == ';' || r == '|' || r == '&' || r == '(' || r == ')' || r == '{' || r == '}' || r == ','
}

// bareWord reads a word without quotes round it, with what is expanded in it.
func (p *parser) bareWord() node {
	t := &text{at: p.here()}
	var b strings.Builder
	flush := func() {
		if b.Len() > 0 {
			t.parts = append(t.parts, b.String())
			b.Reset()
		}
	}
	for p.pos < len(p.text) && !p.failed {
		r, next := p.peek(), p.at(1)
		if endsWord(r) && r != 0 {
			break
		}
		switch {
		case r == '`' && isNewline(next), r == '`' && isSpace(next) && p.blankToEnd(1):
			flush()
			return t
		case r == '`' && p.pos+1 < len(p.text):
			p.pos += 2
			b.WriteString(escaped(next))
		case isSingle(r):
			flush()
			t.parts = append(t.parts, p.single())
		case isDouble(r):
			flush()
			t.parts = append(t.parts, p.double())
		case r == '$' && next == '(':
			flush()
			start := p.here()
			p.pos++
			t.parts = append(t.parts, p.sub(start, false))
		case r == '$' && (unicode.IsLetter(next) || next == '_' || next == '{'):
			flush()
			t.parts = append(t.parts, p.variable())
		default:
			b.WriteRune(r)
			p.pos++
		}
	}
	flush()
	return t
}
