package hnv

import (
	"strconv"
	"strings"
	"unicode"
)

// operators are PowerShell's, from the loosest to the tightest.
var operators = [...]string{
	" and or xor ",
	" band bor bxor ",
	" eq ne lt le gt ge like notlike match notmatch contains notcontains in notin replace split join is isnot as ",
	"+-",
	"*/%",
	" f ",
	"..",
}

// binary reads an expression of operators of that level and tighter ones. In an
// argument of a method a comma parts the arguments.
func (p *parser) binary(level int, noComma bool) node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	if level == len(operators) {
		return p.commas(noComma)
	}
	left := p.binary(level+1, noComma)
	for !p.failed {
		mark := p.pos
		p.space(false)
		at := p.here()
		op := p.operator(level)
		if op == "" {
			p.pos = mark
			return left
		}
		p.space(true)
		left = &binary2{at, op, left, p.binary(level+1, noComma)}
	}
	return left
}

// operator takes the operator of that level which stands here.
func (p *parser) operator(level int) string {
	r := p.peek()
	switch set := operators[level]; {
	case set[0] == ' ':
		if !isDash(r) || !unicode.IsLetter(p.at(1)) {
			return ""
		}
		p.pos++
		w := p.word()
		p.pos--
		name := w
		if !strings.Contains(set, " "+name+" ") {
			// A c or an i before it says whether the case counts. It does not here.
			if level != 2 || len(w) < 2 || w[0] != 'c' && w[0] != 'i' || !strings.Contains(set, " "+w[1:]+" ") {
				return ""
			}
			name = w[1:]
		}
		p.pos += 1 + len(w)
		return name
	case set == "..":
		if r != '.' || p.at(1) != '.' {
			return ""
		}
		p.pos += 2
		return ".."
	case isDash(r):
		if set != "+-" || isDash(p.at(1)) || p.at(1) == '=' || unicode.IsLetter(p.at(1)) {
			return ""
		}
		p.pos++
		return "-"
	case r != 0 && r < 0x80 && strings.ContainsRune(set, r) && p.at(1) != '=' && (r != '+' || p.at(1) != '+'):
		p.pos++
		return string(r)
	}
	return ""
}

// commas reads a list of values, or one value.
func (p *parser) commas(one bool) node {
	start := p.here()
	first := p.unary()
	if one || p.failed {
		return first
	}
	l := &list{at: start, elems: []node{first}}
	for !p.failed {
		mark := p.pos
		p.space(false)
		if p.peek() != ',' {
			p.pos = mark
			break
		}
		p.pos++
		p.space(true)
		l.elems = append(l.elems, p.unary())
	}
	if len(l.elems) == 1 {
		return first
	}
	return l
}

func (p *parser) unary() node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	start := p.here()
	r := p.peek()
	switch {
	case r == '!':
		p.pos++
		p.space(true)
		return &unary{start, "not", p.unary()}
	case r == ',':
		p.pos++
		p.space(true)
		return &list{start, []node{p.unary()}}
	case r == '+' && p.at(1) == '+', isDash(r) && isDash(p.at(1)):
		op := "++"
		if isDash(r) {
			op = "--"
		}
		p.pos += 2
		p.space(false)
		return &unary{start, op, p.unary()}
	case isDash(r) && unicode.IsLetter(p.at(1)):
		p.pos++
		w := p.word()
		switch w {
		case "not", "join", "split", "isplit", "csplit", "bnot":
			p.pos += len(w)
			p.space(true)
			return &unary{start, strings.TrimPrefix(strings.TrimPrefix(w, "i"), "c"), p.unary()}
		}
		p.fail(p.pos, "-%s is no operator in this place", w)
		return nil
	case isDash(r), r == '+':
		p.pos++
		op := "-"
		if r == '+' {
			op = "+"
		}
		return &unary{start, op, p.unary()}
	case r == '[':
		p.pos++
		from := p.pos
		for depth := 1; p.pos < len(p.text); p.pos++ {
			if r := p.peek(); r == '[' {
				depth++
			} else if r == ']' {
				if depth--; depth == 0 {
					break
				}
			} else if isNewline(r) || isSingle(r) || isDouble(r) {
				break
			}
		}
		if p.peek() != ']' {
			p.fail(int(start), "the type is not understood: want [name]")
			return nil
		}
		t := &cast{at: start, typ: strings.ToLower(strings.TrimPrefix(strings.TrimSpace(string(p.text[from:p.pos])), "System."))}
		p.pos++
		if p.peek() == ':' && p.at(1) == ':' {
			return p.postfix(t, false)
		}
		p.space(false)
		if r := p.peek(); p.pos >= len(p.text) || isNewline(r) || strings.ContainsRune(";|)}],=", r) {
			return t
		}
		t.x = p.unary()
		return t
	}
	return p.postfix(p.primary(), false)
}

// postfix reads members, indices, calls and ++ behind a value.
func (p *parser) postfix(n node, argument bool) node {
	for !p.failed {
		start := p.here()
		r, next := p.peek(), p.at(1)
		switch {
		case r == '.' && next != '.' || r == ':' && next == ':':
			if argument && !unicode.IsLetter(next) && next != '_' && next != '$' && next != '(' && next != ':' {
				return n
			}
			m := &member{at: start, of: n, static: r == ':'}
			p.pos++
			if m.static {
				p.pos++
			}
			switch c := p.peek(); {
			case c == '$':
				m.name = p.variable()
			case isSingle(c):
				m.name = p.single()
			case isDouble(c):
				m.name = p.double()
			case c == '(':
				m.name = p.parens()
			default:
				w := p.word()
				if w == "" {
					p.fail(p.pos, "want the name of a property")
					return nil
				}
				m.name = &text{start, []any{string(p.text[p.pos : p.pos+len([]rune(w))])}}
				p.pos += len([]rune(w))
			}
			if p.peek() == '(' {
				m.call = true
				m.args = p.arguments()
			}
			n = m
		case r == '[':
			p.pos++
			p.space(true)
			x := p.binary(0, false)
			p.close(int(start))
			n = &index{start, n, x}
		case !argument && (r == '+' && next == '+' || isDash(r) && isDash(next)):
			p.pos += 2
			op := "post++"
			if isDash(r) {
				op = "post--"
			}
			n = &unary{start, op, n}
		default:
			return n
		}
	}
	return n
}

// arguments reads the arguments of a method in their parentheses.
func (p *parser) arguments() []node {
	open := p.pos
	p.pos++
	var out []node
	for p.space(true); p.peek() != ')' && !p.failed; p.space(true) {
		out = append(out, p.binary(0, true))
		p.space(true)
		if p.peek() == ',' {
			p.pos++
		} else if p.peek() != ')' {
			p.fail(open, "%q is never closed: want %q", '(', ')')
			return nil
		}
	}
	p.pos++
	return out
}

func (p *parser) primary() node {
	start := p.here()
	switch r := p.peek(); {
	case r == '$' && p.at(1) == '(':
		p.pos++
		return p.sub(start, false)
	case r == '$':
		return p.variable()
	case isSingle(r):
		return p.single()
	case isDouble(r):
		return p.double()
	case r == '(':
		p.pos++
		p.space(true)
		n := p.statement()
		p.close(int(start))
		return n
	case r == '{':
		return p.braces()
	case r == '@':
		switch next := p.at(1); {
		case next == '(':
			p.pos++
			return p.sub(start, true)
		case next == '{':
			p.pos++
			return p.table(start)
		case isSingle(next), isDouble(next):
			return p.hereString(start)
		}
	case unicode.IsDigit(r), r == '.' && unicode.IsDigit(p.at(1)):
		from := p.pos
		for r := p.peek(); unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.' && p.at(1) != '.' && unicode.IsDigit(p.at(1)); r = p.peek() {
			p.pos++
		}
		s := string(p.text[from:p.pos])
		if v, ok := parseNumber(s); ok {
			return &number{start, v}
		}
		return &text{start, []any{s}}
	}
	if p.pos >= len(p.text) {
		p.fail(p.pos, "the script ends where a value is wanted")
		return nil
	}
	p.fail(p.pos, "%q is out of place: want a value", p.peek())
	return nil
}

// parseNumber reads a number as PowerShell writes them; fractions are none here.
func parseNumber(s string) (int64, bool) {
	t, unit := strings.ToLower(s), int64(1)
	for suffix, u := range map[string]int64{"kb": 1 << 10, "mb": 1 << 20, "gb": 1 << 30, "tb": 1 << 40} {
		if rest, ok := strings.CutSuffix(t, suffix); ok && !strings.HasPrefix(t, "0x") {
			t, unit = rest, u
		}
	}
	var v int64
	var err error
	if hex, ok := strings.CutPrefix(t, "0x"); ok {
		v, err = strconv.ParseInt(hex, 16, 64)
	} else {
		v, err = strconv.ParseInt(t, 10, 64)
	}
	if err != nil || v > (1<<62)/unit || v < -(1<<62)/unit {
		return 0, false
	}
	return v * unit, true
}

// sub reads the statements of $( ) or @( ).
func (p *parser) sub(start at, array bool) node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	p.pos++
	s := &sub{at: start, array: array, body: p.statements(')')}
	if !p.failed {
		p.pos++
	}
	return s
}

// table reads a hash table.
func (p *parser) table(start at) node {
	defer p.leave()
	if !p.enter() {
		return nil
	}
	open := p.pos
	p.pos++
	t := &table{at: start}
	for !p.failed {
		for p.space(true); p.peek() == ';'; p.space(true) {
			p.pos++
		}
		if p.peek() == '}' {
			p.pos++
			return t
		}
		var key node
		if unicode.IsLetter(p.peek()) || p.peek() == '_' {
			w := p.word()
			key = &text{p.here(), []any{string(p.text[p.pos : p.pos+len([]rune(w))])}}
			p.pos += len([]rune(w))
		} else {
			key = p.postfix(p.primary(), false)
		}
		p.space(true)
		if p.peek() != '=' {
			p.fail(open, "the hash table is not understood: want @{name = value; name = value}")
			return nil
		}
		p.pos++
		p.space(true)
		t.keys, t.values = append(t.keys, key), append(t.values, p.statement())
		p.space(false)
		if r := p.peek(); !p.failed && r != ';' && r != '}' && !isNewline(r) {
			p.fail(open, "the hash table is not understood: want @{name = value; name = value}")
		}
	}
	return nil
}
