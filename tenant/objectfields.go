package tenant

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// The kinds of fields in the JSON form of objects beside plain values: see
// jsonField.

func boolField(name string, p *bool) jsonField {
	const want = "true or false"
	return jsonField{name: name, want: want,
		append: func(b []byte) []byte {
			if !*p {
				return b
			}
			return append(b, "true"...)
		},
		read: func(raw json.RawMessage, report func(part, message string)) {
			if json.Unmarshal(raw, p) != nil {
				report("", "is "+shownJSON(raw)+": want "+want)
			}
		}}
}

// numbersField is a list of numbers.
func numbersField[T ~uint16 | ~uint32](name string, p *[]T, of, item string) jsonField {
	want := "a list of " + of
	return jsonField{name: name, want: want,
		append: func(b []byte) []byte {
			return appendList(b, *p, func(b []byte, v *T) []byte { return strconv.AppendUint(b, uint64(*v), 10) })
		},
		read: func(raw json.RawMessage, report func(part, message string)) {
			readList(raw, want, p, report, func(raw json.RawMessage, v *T, part string) { readNumber(raw, item, v, part, report) })
		}}
}

// objectField is an object in the object.
func objectField[T any](name string, p *T, what string, fields func(*T) []jsonField) jsonField {
	return jsonField{name: name, want: what + ", an object",
		append: func(b []byte) []byte {
			if given := appendFields(nil, fields(p)); len(given) > len("{}") {
				return append(b, given...)
			}
			return b
		},
		read: func(raw json.RawMessage, report func(part, message string)) {
			readObject(raw, what, fields(p), "", report)
		}}
}

// objectsField is a list of objects. Plain, where it is not nil, returns the
// field that may stand for an object which has nothing else.
func objectsField[T any](name string, p *[]T, what, of string, fields func(*T) []jsonField, plain func(*T) (jsonField, bool)) jsonField {
	want := "a list of " + of
	return jsonField{name: name, want: want,
		append: func(b []byte) []byte {
			return appendList(b, *p, func(b []byte, v *T) []byte {
				if plain != nil {
					if f, alone := plain(v); alone {
						if !f.given() {
							return append(b, `""`...)
						}
						return f.append(b)
					}
				}
				return appendFields(b, fields(v))
			})
		},
		read: func(raw json.RawMessage, report func(part, message string)) {
			readList(raw, want, p, report, func(raw json.RawMessage, v *T, part string) {
				if plain != nil && raw[0] != '{' {
					f, _ := plain(v)
					f.read(raw, func(_, message string) { report(part, message) })
					return
				}
				readObject(raw, what, fields(v), part, report)
			})
		}}
}

func appendList[T any](b []byte, all []T, item func([]byte, *T) []byte) []byte {
	for i := range all {
		b = append(b, "[,"[min(i, 1)])
		b = item(b, &all[i])
	}
	if len(all) > 0 {
		b = append(b, ']')
	}
	return b
}

func readList[T any](raw json.RawMessage, want string, p *[]T, report func(part, message string), item func(raw json.RawMessage, v *T, part string)) {
	var items []json.RawMessage
	if raw[0] != '[' || json.Unmarshal(raw, &items) != nil {
		report("", "is "+shownJSON(raw)+": want "+want)
		return
	}
	*p = make([]T, len(items))
	for i := range items {
		item(items[i], &(*p)[i], fmt.Sprintf("[%d]", i))
	}
}

func readObject(raw json.RawMessage, what string, fields []jsonField, part string, report func(part, message string)) {
	if raw[0] != '{' {
		report(part, "is "+shownJSON(raw)+": want "+what)
		return
	}
	r := &jsonReader{what: what, fields: fields}
	r.read(raw)
	for _, p := range r.problems {
		report(part+p.Path, p.Message)
	}
}
