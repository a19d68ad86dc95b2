package policyfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"sort"
	"strconv"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/nvgre-ofctl/nvgre-ofctl/tenant"
)

// parseYAML returns the root node of the only document in data.
func parseYAML(name string, data []byte) (*yaml.Node, *Problem) {
	fail := func(line, column int, format string, args ...any) (*yaml.Node, *Problem) {
		return nil, &Problem{Position: tenant.Position{File: name, Line: line, Column: column}, Message: fmt.Sprintf(format, args...)}
	}
	if len(data) > MaxSize {
		return fail(1, 1, "the file is larger than %d MiB: want a policy file", MaxSize>>20)
	}
	if i, what := badText(data); i >= 0 {
		line, column := lineColumn(data, i)
		return fail(line, column, "%s: want text in UTF-8", what)
	}
	const empty = "the file is empty: want a policy that begins with version: 1"
	dec := yaml.NewDecoder(bytes.NewReader(data))
	root, err := decodeNode(dec)
	if errors.Is(err, io.EOF) {
		return fail(1, 1, empty)
	}
	if err != nil {
		line, column, message := syntaxError(data, err)
		return fail(line, column, "not YAML: %s", message)
	}
	if len(root.Content) != 1 {
		return fail(1, 1, empty)
	}
	switch next, err := decodeNode(dec); {
	case errors.Is(err, io.EOF):
	case err != nil:
		line, column, message := syntaxError(data, err)
		return fail(line, column, "not YAML: %s", message)
	default:
		return fail(next.Line, next.Column, "a second YAML document begins here: want one document in the file")
	}
	root = root.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" && root.Style == 0 {
		return fail(root.Line, root.Column, empty)
	}
	return root, nil
}

// decodeNode reads the next document. The codec panics on some input that it
// has no words for; that is a syntax error of the input like any other.
func decodeNode(dec *yaml.Decoder) (n *yaml.Node, err error) {
	defer func() {
		if p := recover(); p != nil {
			n, err = nil, fmt.Errorf("yaml: cannot be parsed (%v)", p)
		}
	}()
	n = new(yaml.Node)
	err = dec.Decode(n)
	return n, err
}

var yamlError = regexp.MustCompile(`(?s)^yaml: (?:line (\d+): )?(.*)$`)

// maxSearched bounds the size of a file that is parsed again to find the place
// of a syntax error.
const maxSearched = 1 << 20

// syntaxError finds the line of an error of the codec, which gives none or that
// of the construct around it: the first line with which the text has the error.
func syntaxError(data []byte, err error) (line, column int, message string) {
	line, message = 1, err.Error()
	if m := yamlError.FindStringSubmatch(message); m != nil {
		message = m[2]
		if n, err := strconv.Atoi(m[1]); err == nil {
			line = n
		}
	}
	if len(data) > maxSearched {
		return line, 1, message
	}
	var ends []int
	for i, b := range data {
		if b == '\n' {
			ends = append(ends, i+1)
		}
	}
	ends = append(ends, len(data))
	k := sort.Search(len(ends)-1, func(k int) bool {
		e := parseError(data[:ends[k]])
		return e != nil && e.Error() == err.Error()
	})
	text := data[:ends[k]]
	start := bytes.LastIndexByte(bytes.TrimSuffix(text, []byte("\n")), '\n') + 1
	column = 1
	for _, b := range text[start:] {
		if b != ' ' && b != '\t' {
			break
		}
		column++
	}
	return k + 1, column, message
}

// parseError returns the first syntax error of data, or nil.
func parseError(data []byte) error {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		switch _, err := decodeNode(dec); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// badText returns the offset of the first octet that no YAML file has, or -1.
func badText(data []byte) (offset int, what string) {
	for i := 0; i < len(data); {
		b := data[i]
		if b < utf8.RuneSelf {
			if b < ' ' && b != '\t' && b != '\n' && b != '\r' || b == 0x7f {
				return i, fmt.Sprintf("control character 0x%02x", b)
			}
			i++
			continue
		}
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n == 1 {
			return i, fmt.Sprintf("octet 0x%02x is not UTF-8", b)
		}
		i += n
	}
	return -1, ""
}

// lineColumn returns the place of an offset, counted as the codec counts.
func lineColumn(data []byte, offset int) (line, column int) {
	before := data[:offset]
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
