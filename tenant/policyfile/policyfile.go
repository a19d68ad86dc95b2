// Package policyfile reads and writes a [tenant.Policy] as a YAML file.
//
// Reading is strict: a key or a value that is not understood is a problem, and
// every problem of the file is reported in one run, each with its line and
// column. What the values mean together is checked by [tenant.Check].
package policyfile

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// MaxSize is the largest policy file that is read, in octets. It has room for a
// million lookup records, of about 100 octets each. The YAML codec holds the
// whole file as a tree, so that reading takes about 30 octets of memory for each
// octet of the file (BenchmarkParse): the limit keeps a wrong file name from
// taking all the memory of the machine.
const MaxSize = 128 << 20

// Problem is one reason why a file is no policy.
type Problem struct {
	Position tenant.Position
	// Path names the field, for instance routing_domains[0].rdid. It is empty
	// for a problem of the file as a whole.
	Path string
	// Message says what is wrong and what would be right.
	Message string
	// Related holds the places of the other fields that take part.
	Related []tenant.Position
}

// String returns file:line:col: field: message.
func (p Problem) String() string {
	var b strings.Builder
	b.WriteString(p.Position.String())
	if p.Path != "" {
		b.WriteString(": ")
		b.WriteString(p.Path)
	}
	b.WriteString(": ")
	b.WriteString(p.Message)
	for i, r := range p.Related {
		b.WriteString([]string{" (see ", ", "}[min(i, 1)])
		b.WriteString(r.String())
	}
	if len(p.Related) > 0 {
		b.WriteByte(')')
	}
	return b.String()
}

// Error says why a file is no policy. Problems is never empty and stands in the
// order of the file.
type Error struct {
	Problems []Problem
}

// Error returns all problems, one a line.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = p.String()
	}
	return strings.Join(lines, "\n")
}

// Load reads the policy file at path as the policy of that revision. The error
// is an [*Error] where the file was read but holds no policy.
func Load(path string, revision uint64) (*tenant.Policy, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	defer f.Close()
	var data []byte
	if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
		data = make([]byte, 0, min(st.Size(), MaxSize)+1)
	}
	data, err = readAll(io.LimitReader(f, MaxSize+1), data)
	if err != nil {
		return nil, fmt.Errorf("read the policy: %w", err)
	}
	return Parse(path, data, revision)
}

// readAll appends all of r to data.
func readAll(r io.Reader, data []byte) ([]byte, error) {
	for {
		if len(data) == cap(data) {
			data = slices.Grow(data, 4096)
		}
		n, err := r.Read(data[len(data):cap(data)])
		data = data[:len(data)+n]
		if err == io.EOF {
			return data, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// Parse reads data as the policy of that revision. Positions name the file name.
// The error is always an [*Error].
func Parse(name string, data []byte, revision uint64) (*tenant.Policy, error) {
	root, problem := parseYAML(name, data)
	if problem != nil {
		return nil, &Error{[]Problem{*problem}}
	}
	r := &reader{name: name}
	spec := r.policy(root)
	var policy *tenant.Policy
	var meaning []tenant.Problem
	if len(r.problems) == 0 {
		policy, meaning = tenant.New(spec, revision)
	} else {
		meaning = tenant.Check(spec)
	}
	for _, p := range meaning {
		out := Problem{Position: r.position(locate(root, p.Path)), Path: p.Path, Message: p.Message}
		for _, path := range p.Related {
			out.Related = append(out.Related, r.position(locate(root, path)))
		}
		r.problems = append(r.problems, out)
	}
	if len(r.problems) > 0 {
		slices.SortStableFunc(r.problems, func(a, b Problem) int {
			return cmp.Or(cmp.Compare(a.Position.Line, b.Position.Line), cmp.Compare(a.Position.Column, b.Position.Column))
		})
		return nil, &Error{r.problems}
	}
	return policy, nil
}
