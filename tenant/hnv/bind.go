package hnv

import "strings"

// binding is the arguments of a command by parameter.
type binding struct {
	named map[string]any // lower case, in full
	at    map[string]int
	rest  []any // values without a parameter
	bad   string
}

func (b *binding) value(name string) any { return b.named[name] }

func (b *binding) has(name string) bool { _, ok := b.named[name]; return ok }

// Parameters that take no value of their own, of the commands that are followed.
const switches = " asjob passthru whatif confirm verbose debug force all managementos indisconnectedsession hidecomputername enablenetworkaccess usessl skipchecks asstring "

// Parameters that every cmdlet has, with their aliases.
func commonParameter(name string) string {
	switch name {
	case "ea":
		return "erroraction"
	case "wa":
		return "warningaction"
	case "infa":
		return "informationaction"
	case "vb":
		return "verbose"
	case "db":
		return "debug"
	case "ev":
		return "errorvariable"
	case "wv":
		return "warningvariable"
	case "iv":
		return "informationvariable"
	case "ov":
		return "outvariable"
	case "ob":
		return "outbuffer"
	case "pv":
		return "pipelinevariable"
	case "wi":
		return "whatif"
	case "cf":
		return "confirm"
	}
	return ""
}

var common = [...]string{"erroraction", "warningaction", "informationaction", "verbose", "debug", "errorvariable", "warningvariable",
	"informationvariable", "outvariable", "outbuffer", "pipelinevariable", "whatif", "confirm"}

// parameter returns the full name of a parameter that a script may shorten. aliases
// has other name -> full name.
func parameter(name string, names []string, aliases map[string]string) (full, bad string) {
	if a, ok := aliases[name]; ok {
		return a, ""
	}
	if a := commonParameter(name); a != "" {
		return a, ""
	}
	var fits []string
	for _, list := range [][]string{names, common[:]} {
		for _, n := range list {
			if n == name {
				return n, ""
			}
			if strings.HasPrefix(n, name) {
				fits = append(fits, n)
			}
		}
	}
	switch len(fits) {
	case 1:
		return fits[0], ""
	case 0:
		return "", "there is no parameter -" + name
	}
	return "", "-" + name + " may be -" + strings.Join(fits, " or -")
}

// bind matches arguments to parameters. Without names every parameter is taken.
func (e *evaluator) bind(c *command, names []string, aliases map[string]string) *binding {
	b := &binding{named: map[string]any{}, at: map[string]int{}}
	put := func(name string, at int, v any) {
		full, bad := name, ""
		if names != nil {
			full, bad = parameter(name, names, aliases)
		} else if a, ok := aliases[name]; ok {
			full = a
		} else if a := commonParameter(name); a != "" {
			full = a
		}
		if bad != "" {
			b.bad = bad
			return
		}
		if b.has(full) && b.bad == "" {
			b.bad = "-" + full + " is given twice"
		}
		b.named[full], b.at[full] = v, at
	}
	for i := 0; i < len(c.args); i++ {
		a := c.args[i]
		switch {
		case a.splat:
			switch v := e.value(a.value).(type) {
			case *hash:
				for _, k := range v.keys {
					put(strings.ToLower(k), int(a.at), v.values[strings.ToLower(k)])
				}
			case *unknown:
				b.bad = "the parameters are " + v.why
			default:
				b.rest = append(b.rest, items(v)...)
			}
		case a.param == "":
			b.rest = append(b.rest, e.value(a.value))
		case a.value != nil:
			put(a.param, int(a.at), e.value(a.value))
		default:
			full := a.param
			if names != nil {
				if f, bad := parameter(a.param, names, aliases); bad == "" {
					full = f
				}
			} else if f, bad := parameter(a.param, common[:], nil); bad == "" && len(a.param) > 2 {
				full = f
			}
			if !strings.Contains(switches, " "+full+" ") && i+1 < len(c.args) && c.args[i+1].param == "" && !c.args[i+1].splat {
				i++
				put(a.param, int(a.at), e.value(c.args[i].value))
				break
			}
			if names != nil && !strings.Contains(switches, " "+full+" ") {
				b.bad = "-" + a.param + " has no value"
			}
			put(a.param, int(a.at), true)
		}
	}
	return b
}

// hostsOf returns the hosts that v names; known is false where nobody can say.
func hostsOf(v any) (hosts []string, known bool) {
	for _, x := range items(v) {
		switch x := x.(type) {
		case *machine:
			hosts = append(hosts, x.host)
		case string:
			switch strings.ToLower(x) {
			case ".", "localhost", "127.0.0.1", "::1":
				x = ""
			}
			hosts = append(hosts, x)
		default:
			return nil, false
		}
	}
	return hosts, len(hosts) > 0
}
