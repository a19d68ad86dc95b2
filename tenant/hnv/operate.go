package hnv

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// operate returns l op r.
func operate(op string, l, r any) any {
	for _, v := range []any{l, r} {
		if u, ok := v.(*unknown); ok && op != "is" && op != "isnot" {
			return u
		}
	}
	switch op {
	case "+":
		switch x := l.(type) {
		case []any:
			return append(append(make([]any, 0, len(x)+1), x...), items(r)...)
		case nil:
			return r
		case *hash:
			if y, ok := r.(*hash); ok {
				out := &hash{values: map[string]any{}}
				for _, h := range []*hash{x, y} {
					for _, k := range h.keys {
						out.set(k, h.values[strings.ToLower(k)])
					}
				}
				return out
			}
		case string:
			s, u := asText(r)
			if u != nil {
				return u
			}
			return x + s
		}
		return arithmetic(op, l, r)
	case "*":
		if s, ok := l.(string); ok {
			if n, ok := asNumber(r); ok && n >= 0 && n*int64(len(s)) <= maxText {
				return strings.Repeat(s, int(n))
			}
			return unknownf("a long text")
		}
		return arithmetic(op, l, r)
	case "-", "/", "%", "band", "bor", "bxor":
		return arithmetic(op, l, r)
	case "..":
		a, ok := asNumber(l)
		b, ok2 := asNumber(r)
		const far = 1 << 60
		if !ok || !ok2 || max(a, -a, b, -b) > far || max(a-b, b-a) > maxList {
			return unknownf("a range of no, or too many, numbers")
		}
		var out []any
		for step := int64(1); ; a += step {
			out = append(out, a)
			if a == b {
				return out
			}
			if b < a {
				step = -1
			}
		}
	case "f":
		return format(l, items(r))
	case "join":
		s, u := asText(r)
		if u != nil {
			return u
		}
		return joined(items(l), s)
	case "split":
		return split(l, items(r))
	case "replace":
		return replace(l, items(r))
	case "contains", "notcontains", "in", "notin":
		list, x := l, r
		if strings.HasSuffix(op, "in") && !strings.HasSuffix(op, "contains") {
			list, x = r, l
		}
		found := false
		for _, y := range items(list) {
			if _, ok := y.([]any); ok {
				continue
			}
			is, ok := operate("eq", y, x).(bool)
			found = found || ok && is
		}
		return found == !strings.HasPrefix(op, "not")
	case "as":
		return l
	}
	if list, ok := l.([]any); ok { // those of the list of which it is true
		out := []any{}
		for _, x := range list {
			if _, ok := x.([]any); ok {
				continue
			}
			if is, ok := operate(op, x, r).(bool); ok && is {
				out = append(out, x)
			}
		}
		return out
	}
	switch op {
	case "like", "notlike", "match", "notmatch":
		s, u := asText(l)
		t, u2 := asText(r)
		if u != nil || u2 != nil {
			return cmp.Or(u, u2)
		}
		if strings.HasSuffix(op, "like") {
			t = "^" + strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(t)) + "$"
		}
		re, err := regexp.Compile("(?is)" + t)
		if err != nil {
			return unknownf("the pattern %q", t)
		}
		return re.MatchString(s) == !strings.HasPrefix(op, "not")
	}
	c, ok := compare(l, r)
	switch {
	case op == "eq":
		return ok && c == 0
	case op == "ne":
		return !ok || c != 0
	case !ok:
		return unknownf("a comparison of what has no order")
	case op == "lt":
		return c < 0
	case op == "le":
		return c <= 0
	case op == "gt":
		return c > 0
	case op == "ge":
		return c >= 0
	}
	return unknownf("the operator -%s", op)
}

// compare orders r as the left side's kind has it, text without case.
func compare(l, r any) (int, bool) {
	if l == nil || r == nil {
		if l == nil && r == nil {
			return 0, true
		}
		return 0, false
	}
	switch l := l.(type) {
	case int64:
		n, ok := asNumber(r)
		return cmp.Compare(l, n), ok
	case bool:
		is, known := truth(r)
		return map[bool]int{true: 0, false: 1}[l == is], known
	}
	s, u := asText(l)
	t, u2 := asText(r)
	return strings.Compare(strings.ToLower(s), strings.ToLower(t)), u == nil && u2 == nil
}

func arithmetic(op string, l, r any) any {
	a, ok := asNumber(l)
	b, ok2 := asNumber(r)
	if !ok || !ok2 {
		return unknownf("the result of %s with what is no number", op)
	}
	const limit = 1 << 31
	if op == "*" && (max(a, -a) > limit || max(b, -b) > limit) || (op == "/" || op == "%") && b == 0 {
		return unknownf("the result of %s", op)
	}
	switch op {
	case "+":
		return a + b
	case "-":
		return a - b
	case "*":
		return a * b
	case "/":
		if a%b != 0 {
			return unknownf("a fraction")
		}
		return a / b
	case "%":
		return a % b
	case "band":
		return a & b
	case "bor":
		return a | b
	}
	return a ^ b
}

func joined(list []any, by string) any {
	parts := make([]string, len(list))
	size := 0
	for i, x := range list {
		s, u := asText(x)
		if u != nil {
			return u
		}
		if size += len(s) + len(by); size > maxText {
			return unknownf("a text of more than %d octets", maxText)
		}
		parts[i] = s
	}
	return strings.Join(parts, by)
}

func split(l any, args []any) any {
	s, u := asText(l)
	if u != nil || len(args) != 1 {
		return unknownf("the result of -split")
	}
	t, _ := asText(args[0])
	re, err := regexp.Compile("(?i)" + t)
	if err != nil || t == "" {
		return unknownf("the result of -split")
	}
	var out []any
	for _, f := range re.Split(s, -1) {
		out = append(out, f)
	}
	return out
}

func replace(l any, args []any) any {
	if list, ok := l.([]any); ok {
		out := make([]any, len(list))
		for i, x := range list {
			if _, ok := x.([]any); ok {
				return unknownf("a list of lists")
			}
			out[i] = replace(x, args)
		}
		return out
	}
	s, u := asText(l)
	if u != nil || len(args) == 0 || len(args) > 2 {
		return unknownf("the result of -replace")
	}
	from, _ := asText(args[0])
	to := ""
	if len(args) == 2 {
		to, _ = asText(args[1])
	}
	re, err := regexp.Compile("(?i)" + from)
	if err != nil || len(s)*(len(to)+1) > maxText {
		return unknownf("the result of -replace")
	}
	return re.ReplaceAllString(s, to)
}

var formatItem = regexp.MustCompile(`\{\{|\}\}|\{(\d+)(?:,(-?\d{1,3}))?(?::([DdXx])(\d{0,2}))?\}`)

// format is the operator -f, with the forms that numbers in names have.
func format(l any, args []any) any {
	s, u := asText(l)
	if u != nil {
		return u
	}
	var bad *unknown
	out := formatItem.ReplaceAllStringFunc(s, func(m string) string {
		if m == "{{" || m == "}}" {
			return m[:1]
		}
		g := formatItem.FindStringSubmatch(m)
		i, err := strconv.Atoi(g[1])
		if err != nil || i >= len(args) {
			bad = unknownf("the format %q", s)
			return ""
		}
		t, u := asText(args[i])
		if u != nil {
			bad = u
			return ""
		}
		if g[3] != "" {
			n, ok := asNumber(args[i])
			if !ok {
				bad = unknownf("the format %q", s)
				return ""
			}
			width := "0" + g[4]
			if g[4] == "" {
				width = ""
			}
			t = fmt.Sprintf("%"+width+strings.Replace(g[3], "D", "d", 1), n)
		}
		if g[2] != "" {
			t = fmt.Sprintf("%"+g[2]+"s", t)
		}
		return t
	})
	if bad != nil {
		return bad
	}
	if strings.Contains(out, "{") && !formatItem.MatchString(s) {
		return unknownf("the format %q", s)
	}
	return out
}

func (h *hash) set(key string, v any) {
	k := strings.ToLower(key)
	if _, ok := h.values[k]; !ok {
		h.keys = append(h.keys, key)
	}
	h.values[k] = v
}
