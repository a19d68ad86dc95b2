package policyfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

//go:generate go test -run ^TestSchemaFile$ -update .

// Schema returns the JSON Schema (draft 2020-12) of the policy file, for editors
// that complete and check it. It knows the form of each value; what values mean
// together only [Parse] checks. It is stricter than Parse in one thing: a MAC of
// digits alone without separators has to be in quotes.
func Schema() []byte {
	b := &schemaBuilder{defs: map[string]*schema{}}
	root := b.object(reflect.TypeFor[tenant.Spec]())
	root.Schema = "https://json-schema.org/draft/2020-12/schema"
	root.Title = "nvgre-ofctl policy"
	root.Defs = b.defs
	out, err := json.MarshalIndent(root, "", "  ")
	if err != nil {
		panic(err) // a schema is plain strings and numbers
	}
	return append(out, '\n')
}

// schema is the part of JSON Schema that is used here.
type schema struct {
	Schema               string             `json:"$schema,omitempty"`
	Ref                  string             `json:"$ref,omitempty"`
	Title                string             `json:"title,omitempty"`
	Description          string             `json:"description,omitempty"`
	Type                 string             `json:"type,omitempty"`
	Const                any                `json:"const,omitempty"`
	Enum                 []string           `json:"enum,omitempty"`
	AnyOf                []*schema          `json:"anyOf,omitempty"`
	Default              any                `json:"default,omitempty"`
	Examples             []any              `json:"examples,omitempty"`
	Pattern              string             `json:"pattern,omitempty"`
	Not                  *schema            `json:"not,omitempty"`
	MinLength            *int               `json:"minLength,omitempty"`
	MaxLength            *int               `json:"maxLength,omitempty"`
	Minimum              *uint64            `json:"minimum,omitempty"`
	Maximum              *uint64            `json:"maximum,omitempty"`
	MinItems             *int               `json:"minItems,omitempty"`
	UniqueItems          bool               `json:"uniqueItems,omitempty"`
	Items                *schema            `json:"items,omitempty"`
	Properties           properties         `json:"properties,omitempty"`
	Required             []string           `json:"required,omitempty"`
	AdditionalProperties *bool              `json:"additionalProperties,omitempty"`
	Defs                 map[string]*schema `json:"$defs,omitempty"`
}

// properties keep the order of the file, which editors offer them in.
type properties []property

type property struct {
	key    string
	schema *schema
}

// MarshalJSON implements json.Marshaler.
func (p properties) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, f := range p {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(f.schema)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&b, "%q:%s", f.key, value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

type schemaBuilder struct{ defs map[string]*schema }

// object returns the schema of a struct of tenant's Spec. Its fields come from
// the type, what is said of them from schemaNotes.
func (b *schemaBuilder) object(t reflect.Type) *schema {
	closed := false
	s := &schema{Type: "object", Description: objectNotes[t], AdditionalProperties: &closed}
	b.fields(s, t, t)
	s.AnyOf = alternatives[t]
	return s
}

// fields adds the fields of t, which is the struct of the note or stands in it.
func (b *schemaBuilder) fields(s *schema, t, notes reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		key := f.Tag.Get("yaml")
		switch key {
		case "-":
			continue
		case ",inline":
			b.fields(s, f.Type.Elem(), notes)
			continue
		}
		note, ok := schemaNotes[notes][key]
		if !ok {
			panic(fmt.Sprintf("%s.%s: a key of the policy file without a note for the schema", t.Name(), f.Name))
		}
		s.Properties = append(s.Properties, property{key, b.field(f.Type, note)})
		if note.required {
			s.Required = append(s.Required, key)
		}
	}
}

func (b *schemaBuilder) field(t reflect.Type, n note) *schema {
	s := b.value(t, n)
	s.Description = n.text
	s.Default = n.byDefault
	return s
}

func (b *schemaBuilder) value(t reflect.Type, n note) *schema {
	if n.group {
		return &schema{Type: "string", Pattern: groupPattern, Examples: []any{"239.1.2.3"}}
	}
	switch t {
	case reflect.TypeFor[tenant.RecordType]():
		return &schema{Enum: words(tenant.RecordType.String, tenant.Static, tenant.Dynamic, tenant.L2Only, tenant.Wildcard)}
	case reflect.TypeFor[tenant.Rule]():
		return &schema{Enum: words(tenant.Rule.String, tenant.Encap, tenant.Nat)}
	case reflect.TypeFor[tenant.MulticastMode]():
		return &schema{Enum: words(tenant.MulticastMode.String, tenant.MulticastOff, tenant.MulticastUnicast, tenant.MulticastGroup)}
	case reflect.TypeFor[tenant.MAC]():
		return &schema{Type: "string", Pattern: macPattern, Not: &schema{Pattern: "^(00[-:]?){5}00$"}, Examples: []any{"02:00:00:00:00:05"}}
	case reflect.TypeFor[tenant.RDID]():
		return &schema{Type: "string", Pattern: rdidPattern, Not: &schema{Pattern: "^[{]?[0-]+[}]?$"}, Examples: []any{"{11111111-2222-3333-4444-000000005001}"}}
	case reflect.TypeFor[tenant.CA]():
		return &schema{Type: "string", Pattern: anyAddress, Not: &schema{Pattern: notUnicast}, Examples: []any{"10.0.1.11"}}
	case reflect.TypeFor[tenant.PA]():
		return &schema{Type: "string", Pattern: anyAddress, Not: &schema{Pattern: notUnicast}, Examples: []any{"10.99.0.1"}}
	case reflect.TypeFor[tenant.CAPrefix](), reflect.TypeFor[tenant.PAPrefix]():
		return &schema{Type: "string", Pattern: "^(" + ipv4 + "/" + n.length + "|" + ipv6 + "/" + length6 + ")$", Examples: []any{"10.0.1.0/24"}}
	}
	switch t.Kind() {
	case reflect.String:
		if n.pattern != "" {
			return &schema{Type: "string", Pattern: n.pattern}
		}
		return &schema{Type: "string", Pattern: namePattern, MinLength: new(1), MaxLength: &n.most}
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Struct:
		return b.element(t, n)
	case reflect.Int, reflect.Uint16, reflect.Uint32:
		if n.constant != nil {
			return &schema{Type: "integer", Const: n.constant}
		}
		return &schema{Type: "integer", Minimum: &n.from, Maximum: &n.to}
	case reflect.Slice:
		s := &schema{Type: "array", Items: b.element(t.Elem(), n)}
		if n.atLeastOne {
			s.MinItems = new(1)
		}
		s.UniqueItems = t.Elem().Kind() != reflect.Struct || t.Elem().NumField() == 1 || t.Elem() == reflect.TypeFor[tenant.ProviderAddress]()
		return s
	}
	panic(fmt.Sprintf("%s: a type without a schema", t))
}

// element returns the schema of an item of a list: objects stand in $defs.
func (b *schemaBuilder) element(t reflect.Type, n note) *schema {
	if _, ok := schemaNotes[t]; !ok {
		return b.value(t, n)
	}
	name := strings.ToLower(strings.TrimSuffix(t.Name(), "Spec"))
	if b.defs[name] == nil {
		b.defs[name] = b.object(t)
	}
	ref := &schema{Ref: "#/$defs/" + name}
	if t == reflect.TypeFor[tenant.ProviderAddress]() { // an address alone stands for itself
		return &schema{AnyOf: []*schema{b.value(reflect.TypeFor[tenant.PA](), n), ref}}
	}
	return ref
}

func words[T any](word func(T) string, all ...T) []string {
	out := make([]string, len(all))
	for i, v := range all {
		out[i] = word(v)
	}
	return out
}
