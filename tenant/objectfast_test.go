package tenant

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// slowRecord reads a record with the general reader.
func slowRecord(k Key, data []byte) (Object, []Problem) {
	o, fields := newObject(k)
	r := &jsonReader{path: k.String(), what: "the object", fields: fields, keyed: true}
	r.read(data)
	if len(r.problems) > 0 {
		return nil, r.problems
	}
	return o.canonical(), nil
}

// What the fast reader takes, the general one takes for the same.
func TestFastRecordIsTheGeneralOne(t *testing.T) {
	k := RecordKey(5001, CAFrom(netip.MustParseAddr("10.0.1.11")))
	whole := `{"vsid":5001,"ca":"10.0.1.11","vm":"web1","mac":"02:00:00:00:00:01","iface_id":"p1","host":"h1","pa":"10.99.0.1"}`
	if _, ok := fastRecord(k, []byte(whole)); !ok {
		t.Errorf("%s is not read fast", whole)
	}
	pieces := []string{`{`, `}`, `,`, `:`, `"`, ` `, `\u0041`, `é`, `null`, `01`, `5001`, `6001`, `""`, `"vm":"x"`, `"vsid":5001`, `"vsid":5002`, `"ca":"10.0.1.11"`,
		`"ca":"10.0.1.12"`, `"mac":"02:00:00:00:00:01"`, `"mac":"nonsense"`, `"pa":"10.99.0.1"`, `"host":"h1"`, `"other":"x"`, "\x01", "\xff", `"iface_id":"x"`}
	rapid.Check(t, func(t *rapid.T) {
		var data string
		switch rapid.IntRange(0, 2).Draw(t, "how") {
		case 0:
			data = "{" + strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 6).Draw(t, "pieces"), ",") + "}"
		case 1:
			data = strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 8).Draw(t, "pieces"), "")
		default:
			i := rapid.IntRange(0, len(whole)).Draw(t, "from")
			j := rapid.IntRange(i, min(len(whole), i+8)).Draw(t, "to")
			data = whole[:i] + rapid.SampledFrom(pieces).Draw(t, "piece") + whole[j:]
		}
		fast, ok := fastRecord(k, []byte(data))
		if !ok {
			return
		}
		slow, problems := slowRecord(k, []byte(data))
		if len(problems) > 0 || fast.canonical() != slow {
			t.Fatalf("%s is %+v, and by the general reader %+v %v", data, fast, slow, problems)
		}
	})
}

func TestPlainTextIsWrittenAsJSONDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("ab<>&\"\\\x7f\x00 é\u2028")), 0, 6, -1)).Draw(t, "s")
		want, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if got := appendString(nil, s); string(got) != string(want) {
			t.Fatalf("%s, want %s", got, want)
		}
	})
}

func BenchmarkDecodeRecord(b *testing.B) {
	k := RecordKey(5001, CAFrom(netip.MustParseAddr("10.0.1.11")))
	data := []byte(`{"vsid":5001,"ca":"10.0.1.11","vm":"web1","mac":"02:00:00:00:00:01","host":"h1"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, problems := DecodeObject(k, data); len(problems) > 0 {
			b.Fatal(problems)
		}
	}
}
