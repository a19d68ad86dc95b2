package conformance

import (
	"fmt"
	"strings"
)

// Document returns docs/CONFORMANCE.md.
func Document(topics []Topic) string {
	var b strings.Builder
	b.WriteString(`# Conformance

Generated from the rows in testbed/conformance; ` + "`go generate ./testbed/conformance`" + ` writes it anew.

A row is something that [RFC 7637](https://www.rfc-editor.org/rfc/rfc7637) or Hyper-V Network Virtualization (HNV) asks for. A row that holds has a test
on real Open vSwitch that reads real frames, in both port modes (one gre port, and one for each virtual subnet) unless the row says otherwise:
` + "`make conformance`" + `, part of ` + "`make test`" + `, runs them all and fails if one does not run; ` + "`make conformance ROW=name`" + ` runs one. Level "says" is what the RFC
states without a key word of RFC 2119.

`)
	done, all := 0, 0
	for _, topic := range topics {
		for _, r := range topic.Rows {
			all++
			if r.Test != nil {
				done++
			}
		}
	}
	fmt.Fprintf(&b, "%d of %d rows hold.\n", done, all)
	for _, topic := range topics {
		fmt.Fprintf(&b, "\n## %s\n\n| row | asked by | level | what must hold | state |\n|---|---|---|---|---|\n", topic.Title)
		for _, r := range topic.Rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", r.Name, cell(r.Source), r.Level, cell(r.Says), cell(r.state()))
		}
	}
	return b.String()
}

func (r *Row) state() string {
	state := "holds"
	switch {
	case r.Test == nil:
		state = "**not done**"
	case r.Only != "":
		state = "holds with port mode " + string(r.Only) + " only"
	}
	if r.Note != "" {
		state += ": " + r.Note
	}
	return state
}

func cell(s string) string { return strings.ReplaceAll(s, "|", `\|`) }

// An Outcome is what became of the test of a row in one mode.
type Outcome string

// The outcomes. The zero value is that of a test that did not run.
const (
	Passed Outcome = "holds"
	Failed Outcome = "FAILS"
)

// Results hold the outcomes of the tests that ran.
type Results map[string]map[Mode]Outcome

func (r Results) set(row string, m Mode, o Outcome) {
	if r[row] == nil {
		r[row] = make(map[Mode]Outcome)
	}
	r[row][m] = o
}

// Missing returns the rows whose tests did not run to their end where they should
// have, as ROW (MODE).
func (r Results) Missing(topics []Topic) (missing []string) {
	for _, topic := range topics {
		for _, row := range topic.Rows {
			for _, m := range modes {
				if row.in(m) && r[row.Name][m] == "" {
					missing = append(missing, fmt.Sprintf("%s (%s)", row.Name, m))
				}
			}
		}
	}
	return missing
}

// Table returns the results for people.
func (r Results) Table(topics []Topic) string {
	var b strings.Builder
	line := func(cells ...any) { fmt.Fprintf(&b, "%-26s %-44s %-12s %-9s %s\n", cells...) }
	for _, topic := range topics {
		if len(topic.Rows) == 0 { // none of them was chosen
			continue
		}
		fmt.Fprintf(&b, "\n%s\n", topic.Title)
		line("ROW", "ASKED BY", "LEVEL", "FLOW", "PER-VSID")
		for _, row := range topic.Rows {
			var cells [2]string
			for i, m := range modes {
				switch o := r[row.Name][m]; {
				case row.Test == nil:
					cells[i] = "not done"
				case !row.in(m):
					cells[i] = "-"
				case o == "":
					cells[i] = "not run"
				default:
					cells[i] = string(o)
				}
			}
			line(row.Name, row.Source, string(row.Level), cells[0], cells[1])
		}
	}
	return b.String()
}
