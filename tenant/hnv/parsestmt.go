package hnv

import (
	"strings"
	"unicode"
)

// statement reads one statement.
func (p *parser) statement() node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	start := p.here()
	w := p.word()
	// A word with a dash in it is a command: if-not, for-each.
	after := p.at(len([]rune(w)))
	if w == "" || after == '-' || after == '.' || after == '\\' || after == ':' {
		return p.assignment()
	}
	take := func() { p.pos += len([]rune(w)); p.space(true) }
	switch w {
	case "if":
		take()
		return p.ifStatement(start)
	case "for":
		take()
		return p.forStatement(start)
	case "foreach":
		mark := p.pos
		take()
		if p.peek() != '(' { // the alias of ForEach-Object
			p.pos = mark
			return p.assignment()
		}
		return p.foreachStatement(start)
	case "while":
		take()
		l := &loop{at: start, cond: p.parens()}
		l.body = p.braces()
		return l
	case "do":
		take()
		l := &loop{at: start, after: true, body: p.braces()}
		p.space(true)
		switch p.word() {
		case "until":
			l.until = true
		case "while":
		default:
			p.fail(p.pos, "do { } wants while or until")
			return nil
		}
		p.pos += 5
		p.space(true)
		l.cond = p.parens()
		return l
	case "switch":
		take()
		return p.switchStatement(start)
	case "function", "filter", "workflow":
		take()
		name := p.pos
		for r := p.peek(); p.pos < len(p.text) && !isSpace(r) && !isNewline(r) && r != '(' && r != '{'; r = p.peek() {
			p.pos++
		}
		f := &function{at: start, name: strings.ToLower(string(p.text[name:p.pos]))}
		p.space(true)
		var params []param
		if p.peek() == '(' {
			params = p.params()
		}
		f.body = p.braces()
		f.body.params = append(params, f.body.params...)
		return f
	case "try":
		take()
		return p.tryStatement(start)
	case "trap", "class", "enum", "configuration":
		for p.pos < len(p.text) && p.peek() != '{' && !isNewline(p.peek()) {
			p.pos++
		}
		p.space(true)
		if p.peek() != '{' {
			p.fail(p.pos, "%s wants a block", w)
			return nil
		}
		p.skipBalanced()
		return &skipped{start, w, mentionsPolicy(p.text[start:p.pos])}
	case "begin", "process", "end", "dynamicparam", "data":
		mark := p.pos
		take()
		if p.peek() == '{' { // a part of a function
			return p.braces()
		}
		p.pos = mark
	case "return", "break", "continue", "exit", "throw":
		p.pos += len([]rune(w))
		p.space(false)
		f := &flow{at: start, kind: w}
		if r := p.peek(); r != ';' && r != '}' && r != ')' && !isNewline(r) && p.pos < len(p.text) {
			f.value = p.pipeline()
		}
		return f
	case "using":
		for p.pos < len(p.text) && !isNewline(p.peek()) && p.peek() != ';' {
			p.pos++
		}
		return &skipped{start, "using", false}
	}
	return p.assignment()
}

// parens reads ( pipeline ).
func (p *parser) parens() node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	p.space(true)
	start := p.pos
	if p.peek() != '(' {
		p.fail(p.pos, "want ( and a condition")
		return nil
	}
	p.pos++
	p.space(true)
	n := p.assignment()
	p.close(start)
	return n
}

// close takes the bracket that closes the one at start.
func (p *parser) close(start int) {
	p.space(true)
	want := map[rune]rune{'(': ')', '[': ']', '{': '}'}[p.text[start]]
	if p.peek() != want {
		p.fail(start, "%q is never closed: want %q", p.text[start], want)
		return
	}
	p.pos++
}

func (p *parser) ifStatement(start at) node {
	s := &ifStmt{at: start}
	for {
		s.conds = append(s.conds, p.parens())
		s.blocks = append(s.blocks, p.braces())
		mark := p.pos
		p.space(true)
		w := p.word()
		switch {
		case p.failed:
			return nil
		case w == "elseif":
			p.pos += len(w)
			continue
		case w == "else":
			p.pos += len(w)
			s.blocks = append(s.blocks, p.braces())
		default:
			p.pos = mark
		}
		return s
	}
}

func (p *parser) forStatement(start at) node {
	l := &loop{at: start}
	open := p.pos
	if p.peek() != '(' {
		p.fail(p.pos, "for wants (start; condition; step)")
		return nil
	}
	p.pos++
	for i, to := range []*node{&l.init, &l.cond, &l.next} {
		p.space(true)
		if p.peek() != ';' && p.peek() != ')' {
			*to = p.assignment()
			p.space(true)
		}
		if i < 2 && p.peek() == ';' {
			p.pos++
		}
	}
	p.close(open)
	l.body = p.braces()
	return l
}

func (p *parser) foreachStatement(start at) node {
	open := p.pos
	p.pos++
	p.space(true)
	v, ok := p.variable().(*variable)
	p.space(true)
	if !ok || p.word() != "in" {
		p.fail(p.pos, "foreach wants ($name in values)")
		return nil
	}
	p.pos += 2
	p.space(true)
	f := &foreach{at: start, name: v.name, in: p.pipeline()}
	p.close(open)
	f.body = p.braces()
	return f
}

func (p *parser) switchStatement(start at) node {
	s := &switchStmt{at: start}
	for isDash(p.peek()) {
		p.pos++
		if w := p.word(); w != "casesensitive" && w != "exact" {
			s.unknown = true
		}
		p.pos += len([]rune(p.word()))
		p.space(true)
	}
	s.on = p.parens()
	p.space(true)
	open := p.pos
	if p.peek() != '{' {
		p.fail(p.pos, "switch wants a block")
		return nil
	}
	p.pos++
	for p.space(true); p.peek() != '}' && !p.failed; p.space(true) {
		if p.pos >= len(p.text) {
			p.fail(open, "%q is never closed", '{')
			return nil
		}
		var c node
		if w := p.word(); w == "default" {
			p.pos += len(w)
		} else if unicode.IsLetter(p.peek()) {
			c = p.bareWord()
		} else {
			c = p.binary(0, false)
		}
		s.cases, s.blocks = append(s.cases, c), append(s.blocks, p.braces())
		p.space(true)
		if p.peek() == ';' {
			p.pos++
		}
	}
	p.pos++
	return s
}

func (p *parser) tryStatement(start at) node {
	t := &try{at: start, body: p.braces()}
	for !p.failed {
		mark := p.pos
		p.space(true)
		switch p.word() {
		case "catch":
			p.pos += 5
			p.space(true)
			for p.peek() == '[' && !p.failed {
				p.skipBalanced()
				p.space(true)
				if p.peek() == ',' {
					p.pos++
					p.space(true)
				}
			}
			t.policy = p.braces().policy || t.policy
			continue
		case "finally":
			p.pos += 7
			t.finally = p.braces()
			continue
		}
		p.pos = mark
		break
	}
	return t
}

// assignment reads a pipeline, or an assignment of one.
func (p *parser) assignment() node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	start := p.here()
	left := p.pipeline()
	if p.failed {
		return nil
	}
	p.space(false)
	op := ""
	switch r := p.peek(); {
	case r == '=':
		op = "="
	case (r == '+' || isDash(r) || r == '*' || r == '/' || r == '%') && p.at(1) == '=':
		op = string(r)
		if isDash(r) {
			op = "-"
		}
		p.pos++
	default:
		return left
	}
	p.pos++
	p.space(true)
	return &assign{start, left, op, p.statement()}
}

// pipeline reads commands and expressions with bars between them.
func (p *parser) pipeline() node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	l := &pipeline{at: p.here()}
	for !p.failed {
		var n node
		if p.startsExpression() {
			n = p.binary(0, false)
			p.redirections()
		} else {
			n = p.command()
		}
		l.parts = append(l.parts, n)
		p.space(false)
		if p.peek() != '|' || p.at(1) == '|' {
			break
		}
		p.pos++
		p.space(true)
	}
	if len(l.parts) == 1 {
		return l.parts[0]
	}
	return l
}

// startsExpression reports whether an expression stands here rather than a command.
func (p *parser) startsExpression() bool {
	r, next := p.peek(), p.at(1)
	switch {
	case r == '$', isSingle(r), isDouble(r), r == '(', r == '[', r == '{', r == '+', r == '!', r == ',':
		return true
	case r == '@':
		return true
	case unicode.IsDigit(r):
		n := 1
		for unicode.IsDigit(p.at(n)) || p.at(n) == '.' || unicode.Is(unicode.ASCII_Hex_Digit, p.at(n)) || p.at(n) == 'x' {
			n++
		}
		return !unicode.IsLetter(p.at(n))
	case isDash(r):
		return true
	case r == '.':
		return unicode.IsDigit(next)
	}
	return false
}
