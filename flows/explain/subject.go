package explain

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/flows"
	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// Subject is what somebody wants explained: a cookie, a flow or a drop's reason.
type Subject struct {
	Reason    flows.DropReason // where it is a reason alone; else 0
	Cookie    uint64
	Table     int // -1 where nobody said
	Priority  int // -1 where nobody said
	HasCookie bool
}

// ErrSubject says that a text is nothing that can be explained.
var ErrSubject = errors.New("want a drop's reason such as source-ca, a cookie such as 0x4e56000000000000, or a line of ovs-ofctl dump-flows")

var (
	cookieOf   = regexp.MustCompile(`(?:^|[ ,])cookie=(0x[0-9a-fA-F]+|[0-9]+)`)
	tableOf    = regexp.MustCompile(`(?:^|[ ,])table=([0-9a-z_-]+)`)
	priorityOf = regexp.MustCompile(`(?:^|[ ,])priority=([0-9]+)`)
)

// ParseSubject reads a drop's reason, a cookie, or a line as ovs-ofctl dump-flows
// writes it. There a table or a priority that is left out has its default.
func ParseSubject(text string) (Subject, error) {
	s := Subject{Table: -1, Priority: -1}
	text = strings.TrimSpace(text)
	for _, r := range flows.DropReasons() {
		if r.String() == text {
			s.Reason = r
			return s, nil
		}
	}
	if n, err := strconv.ParseUint(text, 0, 64); err == nil {
		s.Cookie, s.HasCookie = n, true
		return s, nil
	}
	actions := strings.Index(text, "actions=")
	m := cookieOf.FindStringSubmatch(text)
	if m == nil && actions < 0 {
		return s, fmt.Errorf("%q: %w", text, ErrSubject)
	}
	s.HasCookie = true // a flow without one has 0
	if m != nil {
		n, err := strconv.ParseUint(m[1], 0, 64)
		if err != nil {
			return s, fmt.Errorf("cookie %s: %w", m[1], ErrSubject)
		}
		s.Cookie = n
	}
	if actions >= 0 {
		s.Table, s.Priority = 0, 32768
		text = text[:actions]
	}
	if m := tableOf.FindStringSubmatch(text); m != nil {
		id, ok := flows.TableByName(m[1])
		if n, err := strconv.ParseUint(m[1], 10, 8); err == nil {
			id, ok = uint8(n), true
		}
		if !ok {
			return s, fmt.Errorf("table %s: %w", m[1], ErrSubject)
		}
		s.Table = int(id)
	}
	if m := priorityOf.FindStringSubmatch(text); m != nil {
		n, err := strconv.ParseUint(m[1], 10, 16)
		if err != nil {
			return s, fmt.Errorf("priority %s: %w", m[1], ErrSubject)
		}
		s.Priority = int(n)
	}
	return s, nil
}

// About is what a cookie or a reason means.
type About struct {
	Cookie   string  `json:"cookie,omitempty"`
	Foreign  bool    `json:"foreign"`
	Revision *uint64 `json:"revision,omitempty"` // of the sentinel
	Drop     string  `json:"drop,omitempty"`     // the reason's name
	Why      string  `json:"why,omitempty"`      // the reason as a sentence
	Owners   []Owner `json:"owners"`
	Table    string  `json:"table,omitempty"`
	Purpose  string  `json:"purpose,omitempty"` // of the table
	Miss     string  `json:"miss,omitempty"`    // what becomes of what other flows of the table do not take
}

// Owner is the object that a flow exists for.
type Owner struct {
	Text   string `json:"owner"`
	Source string `json:"source,omitempty"`
}

// Explain tells what a subject means under a policy, which may be nil.
func Explain(n *flows.Namer, p *tenant.Policy, s Subject) About {
	a := About{Owners: []Owner{}}
	if s.Reason != 0 {
		a.Drop, a.Why = s.Reason.String(), s.Reason.Text()
		return a
	}
	a.Cookie, a.Foreign = fmt.Sprintf("%#x", s.Cookie), !flows.Ours(s.Cookie)
	table := s.Table
	switch {
	case a.Foreign:
	case table >= 0 && flows.TableName(uint8(table)) == "sentinel":
		revision := s.Cookie &^ flows.CookieMask
		a.Revision = &revision
		a.Owners = append(a.Owners, Owner{Text: "controller"})
	default:
		if r, ok := flows.Reason(s.Cookie); ok {
			a.Drop, a.Why = r.String(), r.Text()
		}
		for _, o := range n.Owners(s.Cookie) {
			a.Owners = append(a.Owners, Owner{o.Text, Place(p, o)})
			if o.Kind == flows.OwnerPipeline && table < 0 {
				table = int(s.Cookie & 0xff)
			}
		}
		if len(a.Owners) == 0 {
			a.Owners = append(a.Owners, Owner{Text: n.OwnerText(s.Cookie)})
		}
	}
	for _, t := range flows.Pipeline() {
		if int(t.ID) == table {
			a.Table, a.Purpose, a.Miss = t.Name, t.Purpose, t.Miss
		}
	}
	return a
}
