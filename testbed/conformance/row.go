package conformance

import (
	"fmt"
	"regexp"
	"testing"
)

// A Level says how much a row is asked for: a key word of RFC 2119, or HNV for
// what Hyper-V Network Virtualization does and its users rely on.
type Level string

// The levels.
const (
	Must        Level = "MUST"
	MustNot     Level = "MUST NOT"
	Should      Level = "SHOULD"
	Recommended Level = "RECOMMENDED"
	May         Level = "MAY"
	// Says is what RFC 7637 states without a key word.
	Says Level = "says"
	HNV  Level = "HNV"
)

// A Mode is how a switch has its gre ports (setting port-mode).
type Mode string

// The modes.
const (
	Flow    Mode = "flow"     // one port for all virtual subnets
	PerVSID Mode = "per-vsid" // one for each
)

var modes = []Mode{Flow, PerVSID}

// A Row is one thing that must hold.
type Row struct {
	Name   string // of the row and its test: lower-case words and digits with hyphens
	Source string // where it is asked for, such as "RFC 7637, 3.2"
	Level  Level
	Says   string // what must hold, in one sentence without a final stop
	On     *Bed   // what it is tested on; nil: Basic
	// Test holds the product to the row, in each mode. It may change the testbed,
	// if it changes it back. nil: not done.
	Test func(t *testing.T, n *Network)
	// Note says what is missing of a row that is not done, or what a done one
	// leaves open.
	Note string
	// Only names the one mode in which the row holds; Note says why. Empty: both.
	Only Mode
}

// A Topic is a group of rows, in a file of its own.
type Topic struct {
	Title string
	Rows  []Row
}

// A Bed is what rows are tested on: a testbed with the product running on it.
type Bed struct {
	Name     string
	Policy   string   // text of the policy file
	Topology string   // text of the topology file, without its key policy
	Settings []string // lines for the controller's settings file
	// Settled, if not nil, waits for what a controller that is ready does not have
	// yet, such as its channels for packets.
	Settled func(t *testing.T, n *Network)
}

var rowName = regexp.MustCompile(`^[a-z0-9]+(-[a-z0-9]+)*$`)

// Check returns what is wrong with the rows themselves.
func Check(topics []Topic) (problems []error) {
	seen := make(map[string]bool)
	beds := make(map[string]*Bed)
	for _, topic := range topics {
		for _, r := range topic.Rows {
			bad := func(format string, args ...any) {
				problems = append(problems, fmt.Errorf("row %q of %s: %s", r.Name, topic.Title, fmt.Sprintf(format, args...)))
			}
			switch {
			case !rowName.MatchString(r.Name):
				bad("want a name of lower-case words and digits with hyphens")
			case seen[r.Name]:
				bad("the name is taken")
			case r.Source == "" || r.Level == "" || r.Says == "":
				bad("it lacks its source, level or what it says")
			case r.Test == nil && r.Note == "":
				bad("it has no test: its note must say what is missing")
			case r.Only != "" && r.Note == "":
				bad("it holds in one mode only: its note must say why")
			}
			seen[r.Name] = true
			if bed := r.on(); beds[bed.Name] != nil && beds[bed.Name] != bed {
				bad("another testbed is called %s", bed.Name)
			} else {
				beds[bed.Name] = bed
			}
		}
	}
	return problems
}

func (r *Row) on() *Bed {
	if r.On == nil {
		return Basic
	}
	return r.On
}

// in reports whether the row is to hold in a mode.
func (r *Row) in(m Mode) bool { return r.Test != nil && (r.Only == "" || r.Only == m) }
