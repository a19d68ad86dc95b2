package conformance

import (
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/drive"
	"github.com/nvgre-ofctl/nvgre-ofctl/testbed/ovstest"
)

var (
	update = flag.Bool("update", false, "write docs/CONFORMANCE.md anew")
	only   = flag.String("row", "", "run the rows whose names match this regular expression only")
)

func TestMain(m *testing.M) { os.Exit(drive.Main(m)) }

const document = "../../docs/CONFORMANCE.md"

// docs/CONFORMANCE.md says what the rows say, and nothing is wrong with them.
func TestDocument(t *testing.T) {
	for _, err := range Check(topics) {
		t.Error(err)
	}
	want := Document(topics)
	if *update {
		if err := os.WriteFile(document, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(document)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != want {
		t.Errorf("%s is not what the rows say: write it anew with `go generate ./testbed/conformance`", document)
	}
}

// Every row that has a test holds, in the modes that it claims.
func TestConformance(t *testing.T) {
	ovstest.Require(t, "ping")
	match, err := regexp.Compile("^(?:" + *only + ")$")
	if err != nil {
		t.Fatal(err)
	}
	chosen := make([]Topic, len(topics))
	var beds []*Bed
	byBed := make(map[*Bed][]Row)
	for i, topic := range topics {
		chosen[i] = Topic{Title: topic.Title}
		for _, r := range topic.Rows {
			if *only != "" && !match.MatchString(r.Name) {
				continue
			}
			chosen[i].Rows = append(chosen[i].Rows, r)
			bed := r.on()
			if byBed[bed] == nil {
				beds = append(beds, bed)
			}
			byBed[bed] = append(byBed[bed], r)
		}
	}
	results := make(Results)
	for _, bed := range beds {
		for _, m := range modes {
			var rows []Row
			for _, r := range byBed[bed] {
				if r.in(m) {
					rows = append(rows, r)
				}
			}
			if len(rows) > 0 {
				t.Run(bed.Name+"/"+string(m), func(t *testing.T) { results.run(t, bed, m, rows) })
			}
		}
	}
	table := results.Table(chosen)
	os.Stdout.WriteString(table)
	if missing := results.Missing(chosen); len(missing) > 0 {
		t.Errorf("these did not run to their end: %s", strings.Join(missing, ", "))
	}
	if *only != "" && len(results) == 0 {
		t.Errorf("no row with a test is called %q", *only)
	}
}

func (r Results) run(t *testing.T, bed *Bed, m Mode, rows []Row) {
	n := bed.start(t, m)
	for _, row := range rows {
		t.Run(row.Name, func(t *testing.T) {
			defer func() {
				switch {
				case t.Failed():
					r.set(row.Name, m, Failed)
				case !t.Skipped():
					r.set(row.Name, m, Passed)
				}
			}()
			row.Test(t, n.part(t))
		})
	}
}

// A row whose test is missing, was skipped or did not run is noticed, and so is
// one that is ill-formed.
func TestChecks(t *testing.T) {
	ok := func(*testing.T, *Network) {}
	topics := []Topic{{"a topic", []Row{
		{Name: "done", Source: "RFC", Level: Must, Says: "it", Test: ok},
		{Name: "one-mode", Source: "RFC", Level: Must, Says: "it", Test: ok, Only: Flow, Note: "why"},
		{Name: "open", Source: "RFC", Level: Must, Says: "it", Note: "later"},
	}}}
	if bad := Check(topics); len(bad) != 0 {
		t.Errorf("good rows: %v", bad)
	}
	results := make(Results)
	results.set("done", Flow, Passed)
	results.set("one-mode", Flow, Failed)
	if got := strings.Join(results.Missing(topics), ", "); got != "done (per-vsid)" {
		t.Errorf("missing: %q", got)
	}
	table := results.Table(topics)
	for _, want := range []string{"holds     not run", "FAILS     -", "not done  not done"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table lacks %q:\n%s", want, table)
		}
	}
	other := &Bed{Name: "basic"}
	for _, r := range []Row{
		{Name: "Bad name", Source: "RFC", Level: Must, Says: "it", Test: ok},
		{Name: "done", Source: "RFC", Level: Must, Says: "it", Test: ok},
		{Name: "x", Level: Must, Says: "it", Test: ok},
		{Name: "x", Source: "RFC", Level: Must, Says: "it"},
		{Name: "x", Source: "RFC", Level: Must, Says: "it", Test: ok, Only: Flow},
		{Name: "x", Source: "RFC", Level: Must, Says: "it", Test: ok, On: other},
	} {
		if bad := Check(append(topics, Topic{"bad", []Row{r}})); len(bad) != 1 {
			t.Errorf("%+v: %v, want one problem", r, bad)
		}
	}
}
