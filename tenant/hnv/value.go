package hnv

import (
	"fmt"
	"strconv"
	"strings"
)

// A value of a script is nil, a bool, an int64, a string, an []any, or one of these.
type (
	// unknown is a value that only Windows could tell.
	unknown struct{ why string }
	// hash is a hash table. Its keys are in lower case.
	hash struct {
		keys   []string
		values map[string]any
	}
	// machine is what stands for a host: a session to it, or one of its adapters.
	machine struct{ host string }
	// vmAdapter is what Get-VMNetworkAdapter returns: adapters of VMs, by name and MAC.
	vmAdapter struct {
		host, mac string
		vms       []string
	}
	// chosen is what Get-NetVirtualization... returns.
	chosen struct {
		kind, host string
		object     *object
	}
)

func unknownf(format string, args ...any) *unknown { return &unknown{fmt.Sprintf(format, args...)} }

// items returns what a pipeline or foreach takes v for.
func items(v any) []any {
	switch v := v.(type) {
	case nil:
		return nil
	case []any:
		return v
	}
	return []any{v}
}

// collapse returns what a variable gets from the output of statements.
func collapse(out []any) any {
	switch len(out) {
	case 0:
		return nil
	case 1:
		return out[0]
	}
	return out
}

// asText returns v as text, and why that cannot be.
func asText(v any) (string, *unknown) {
	switch v := v.(type) {
	case nil:
		return "", nil
	case string:
		return v, nil
	case bool:
		if v {
			return "True", nil
		}
		return "False", nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case []any:
		parts := make([]string, len(v))
		size := 0
		for i, x := range v {
			if _, ok := x.([]any); ok {
				return "", unknownf("a list of lists")
			}
			s, u := asText(x)
			if u != nil {
				return "", u
			}
			if size += len(s) + 1; size > maxText {
				return "", unknownf("a text of more than %d octets", maxText)
			}
			parts[i] = s
		}
		return strings.Join(parts, " "), nil
	case *machine:
		return v.host, nil
	case *unknown:
		return "", v
	}
	return "", unknownf("an object that is no text")
}

func asNumber(v any) (int64, bool) {
	switch v := v.(type) {
	case nil:
		return 0, true
	case int64:
		return v, true
	case bool:
		if v {
			return 1, true
		}
		return 0, true
	case string:
		return parseNumber(strings.TrimSpace(v))
	}
	return 0, false
}

// truth returns what a condition makes of v; known is false where nobody can say.
func truth(v any) (is, known bool) {
	switch v := v.(type) {
	case nil:
		return false, true
	case bool:
		return v, true
	case int64:
		return v != 0, true
	case string:
		return v != "", true
	case []any:
		if len(v) == 1 {
			if _, ok := v[0].([]any); !ok {
				return truth(v[0])
			}
		}
		return len(v) > 0, true
	case *unknown:
		return false, false
	}
	return true, true
}

// property returns a property of v.
func property(v any, name string) any {
	switch x := v.(type) {
	case *unknown:
		return x
	case *hash:
		if y, ok := x.values[strings.ToLower(name)]; ok {
			return y
		}
	case *machine:
		switch strings.ToLower(name) {
		case "computername", "pscomputername":
			return x.host
		case "interfaceindex", "ifindex":
			return x
		}
		return unknownf("the property %s of host %s", name, x.host)
	case *chosen:
		return x.object.values[strings.ToLower(name)]
	case *vmAdapter:
		return unknownf("the property %s of what a host has", name)
	}
	switch strings.ToLower(name) {
	case "length", "count":
		switch x := v.(type) {
		case string:
			if strings.EqualFold(name, "length") {
				return int64(len([]rune(x)))
			}
		case []any:
			return int64(len(x))
		case *hash:
			return int64(len(x.keys))
		case nil:
			return int64(0)
		}
		return int64(1)
	case "keys":
		if h, ok := v.(*hash); ok {
			out := make([]any, len(h.keys))
			for i, k := range h.keys {
				out[i] = k
			}
			return out
		}
	case "values":
		if h, ok := v.(*hash); ok {
			out := make([]any, len(h.keys))
			for i, k := range h.keys {
				out[i] = h.values[strings.ToLower(k)]
			}
			return out
		}
	}
	if l, ok := v.([]any); ok { // the property of each
		var out []any
		for _, x := range l {
			if _, ok := x.([]any); ok {
				continue
			}
			if y := property(x, name); y != nil {
				out = append(out, y)
			}
		}
		return collapse(out)
	}
	return nil
}

// element returns v[by].
func element(v, by any) any {
	switch x := v.(type) {
	case *unknown:
		return x
	case *hash:
		s, u := asText(by)
		if u != nil {
			return u
		}
		return x.values[strings.ToLower(s)]
	}
	if u, ok := by.(*unknown); ok {
		return u
	}
	if list, ok := by.([]any); ok {
		if s, ok := v.(string); ok {
			v = characters(s)
		}
		var out []any
		for _, b := range list {
			if _, ok := b.([]any); !ok {
				out = append(out, element(v, b))
			}
		}
		return out
	}
	n, ok := asNumber(by)
	if !ok {
		return unknownf("an index that is no number")
	}
	var l []any
	switch x := v.(type) {
	case []any:
		l = x
	case string:
		l = characters(x)
	default:
		l = items(v)
	}
	if n < 0 {
		n += int64(len(l))
	}
	if n < 0 || n >= int64(len(l)) {
		return nil
	}
	return l[n]
}

func characters(s string) (out []any) {
	for _, r := range s {
		out = append(out, string(r))
	}
	return out
}

// size returns what work with v costs.
func size(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)/8 + 1
	case []any:
		n := len(v)
		for _, x := range v {
			if s, ok := x.(string); ok {
				n += len(s) / 8
			}
		}
		return n
	case *hash:
		return len(v.keys)
	}
	return 0
}

// method calls a method of a string or a list.
func method(v any, name string, args []any) any {
	if u, ok := v.(*unknown); ok {
		return u
	}
	texts := make([]string, len(args))
	for i, a := range args {
		s, u := asText(a)
		if u != nil {
			return u
		}
		texts[i] = s
	}
	s, isText := v.(string)
	if !isText {
		if t, u := asText(v); u == nil && strings.EqualFold(name, "tostring") {
			return t
		}
		return unknownf("the method %s", name)
	}
	switch n := strings.ToLower(name); {
	case n == "replace" && len(args) == 2 && texts[0] != "" && len(s)*(len(texts[1])+1) <= maxText:
		return strings.ReplaceAll(s, texts[0], texts[1])
	case n == "split" && len(args) == 1:
		var out []any
		for _, f := range strings.FieldsFunc(s+"\x00", func(r rune) bool { return strings.ContainsRune(texts[0], r) }) {
			out = append(out, strings.TrimSuffix(f, "\x00"))
		}
		return out
	case n == "toupper" || n == "toupperinvariant":
		return strings.ToUpper(s)
	case n == "tolower" || n == "tolowerinvariant":
		return strings.ToLower(s)
	case n == "tostring":
		return s
	case n == "trim" && len(args) == 0:
		return strings.TrimSpace(s)
	case n == "trim" && len(args) == 1:
		return strings.Trim(s, texts[0])
	case n == "startswith" && len(args) == 1:
		return strings.HasPrefix(s, texts[0])
	case n == "endswith" && len(args) == 1:
		return strings.HasSuffix(s, texts[0])
	case n == "contains" && len(args) == 1:
		return strings.Contains(s, texts[0])
	case n == "substring" && len(args) >= 1:
		r := []rune(s)
		from, ok := asNumber(args[0])
		to := int64(len(r))
		if len(args) == 2 {
			n, ok2 := asNumber(args[1])
			ok = ok && ok2
			to = from + n
		}
		if ok && from >= 0 && from <= to && to <= int64(len(r)) {
			return string(r[from:to])
		}
	}
	return unknownf("the method %s", name)
}
