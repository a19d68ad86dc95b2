package policyfile

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// locate returns the node that path names, or the innermost one around it where
// the file has no such key.
func locate(root *yaml.Node, path string) *yaml.Node {
	n := root
	for path != "" {
		if n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var next *yaml.Node
		if rest, ok := strings.CutPrefix(path, "["); ok {
			index, tail, _ := strings.Cut(rest, "]")
			if i, err := strconv.Atoi(index); err == nil && n.Kind == yaml.SequenceNode && i < len(n.Content) {
				next = n.Content[i]
			}
			path = tail
		} else {
			path = strings.TrimPrefix(path, ".")
			end := strings.IndexAny(path, ".[")
			if end < 0 {
				end = len(path)
			}
			key := path[:end]
			for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
				if n.Content[i].Value == key {
					next = n.Content[i+1]
					break
				}
			}
			path = path[end:]
		}
		if next == nil {
			return n
		}
		n = next
	}
	return n
}
