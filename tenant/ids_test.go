package tenant

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// parseCase is a text and its canonical form, or "" where it must be refused.
type parseCase struct{ in, want string }

func testParse[T interface{ String() string }](t *testing.T, parse func(string) (T, error), cases []parseCase) {
	t.Helper()
	for _, c := range cases {
		got, err := parse(c.in)
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%q is read as %s, want an error", c.in, got)
		case c.want == "" && !strings.Contains(err.Error(), c.in):
			t.Errorf("%q: the error does not show it: %v", c.in, err)
		case c.want != "" && err != nil:
			t.Errorf("%q: %v", c.in, err)
		case c.want != "" && got.String() != c.want:
			t.Errorf("%q is read as %s, want %s", c.in, got, c.want)
		}
	}
}

func TestParseMAC(t *testing.T) {
	testParse(t, ParseMAC, []parseCase{
		{"02:00:00:00:00:05", "02:00:00:00:00:05"},
		{"06-06-00-00-00-0A", "06:06:00:00:00:0a"},
		{"020000000aBc", "02:00:00:00:0a:bc"},
		{"", ""},
		{"02:00:00:00:00", ""},
		{"02:00:00:00:00:05:06", ""},
		{"02:00:00-00-00-05", ""},
		{"0200:0:0:0:0:0005", ""}, // separators in the wrong places
		{"-----020000000005", ""},
		{"02:00:00:00:00:0g", ""},
		{"0200.0000.0005", ""},
		{"00:00:00:00:00:00", ""},
		{"01:00:00:00:00:05", ""},
		{"ff:ff:ff:ff:ff:ff", ""},
	})
}

func TestParseRDID(t *testing.T) {
	const id = "11111111-2222-3333-4444-0000000050ab"
	testParse(t, ParseRDID, []parseCase{
		{id, id},
		{"{" + id + "}", id},
		{strings.ToUpper(id), id},
		{"{" + id, ""},
		{id + "}", ""},
		{"{{" + id + "}}", ""},
		{"11111111-2222-3333-4444-00000000-0-b", ""}, // dashes in place of digits
		{"11111111222233334444000000005001", ""},
		{"00000000-0000-0000-0000-000000000000", ""},
		{"g1111111-2222-3333-4444-0000000050ab", ""},
	})
}

func TestParseVSID(t *testing.T) {
	testParse(t, ParseVSID, []parseCase{
		{"4096", "4096"}, {"5001", "5001"}, {"16777214", "16777214"},
		{"0", ""}, {"4095", ""}, {"16777215", ""}, {"16777216", ""}, {"4294967296", ""}, {"-1", ""}, {"0x1389", ""}, {"", ""},
	})
}

func TestParseAddresses(t *testing.T) {
	cases := []parseCase{
		{"10.0.1.11", "10.0.1.11"}, {"fd00::11", "fd00::11"}, {"FD00:0::11", "fd00::11"},
		{"10.0.1", ""}, {"10.0.1.011", ""}, {"0.0.0.0", ""}, {"::", ""}, {"224.0.0.1", ""}, {"ff02::1", ""},
		{"255.255.255.255", ""}, {"::ffff:10.0.1.11", ""}, {"fe80::1%eth0", ""}, {"10.0.1.11/24", ""},
	}
	testParse(t, ParseCA, cases)
	testParse(t, ParsePA, cases)
}

func TestParseCAPrefix(t *testing.T) {
	testParse(t, ParseCAPrefix, []parseCase{
		{"10.0.1.0/24", "10.0.1.0/24"}, {"0.0.0.0/0", "0.0.0.0/0"}, {"fd00::/64", "fd00::/64"},
		{"10.0.1.0", ""}, {"10.0.1.1/24", ""}, {"10.0.1.0/33", ""}, {"::ffff:10.0.1.0/120", ""}, {"default", ""},
	})
}

// TestKey checks the GRE key of RFC 7637 section 3.2: 24 bits of VSID, 8 of FlowID.
func TestKey(t *testing.T) {
	if got := VSID(5001).Key(0x2a); got != 0x1389<<8|0x2a {
		t.Errorf("key %#x, want 0x13892a", got)
	}
}

// TestTextRoundTrip checks that every identifier is read again from its text.
func TestTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		octets := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "octets")
		m := MAC(octets[:6])
		m[0] &^= 1
		if m != (MAC{}) {
			if got, err := ParseMAC(m.String()); err != nil || got != m {
				t.Fatalf("MAC %s: %v %v", m, got, err)
			}
		}
		if id := RDID(octets); id != (RDID{}) {
			if got, err := ParseRDID(id.String()); err != nil || got != id {
				t.Fatalf("RDID %s: %v %v", id, got, err)
			}
		}
	})
}
