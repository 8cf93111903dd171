package rulelint

import (
	"go.yaml.in/yaml/v3"
)

const (
	// MaxFileBytes bounds the size of a file.
	MaxFileBytes = 2 << 20
	// maxReads bounds what aliases make of it: nodes, and bytes in them. Without
	// aliases some are read twice.
	maxReads = 4 * MaxFileBytes
	// maxMerge bounds how deep mappings are merged into each other.
	maxMerge = 4
)

// nodes reads YAML nodes. It follows aliases and bounds what they multiply.
type nodes struct {
	// left is how much may still be read; below 0, nothing.
	left   int
	report func(n *yaml.Node, format string, args ...any)
}

// take counts what is read, and tells whether it may be.
func (r *nodes) take(n int) bool {
	if r.left >= 0 && r.left < n {
		r.report(nil, "with its aliases it is larger than %d bytes; the rest is not read", maxReads)
		r.left = -1
	}
	if r.left < 0 {
		return false
	}
	r.left -= n
	return true
}

// field is a key of a mapping and its value.
type field struct {
	name       string
	key, value *yaml.Node
}

// fields are in the order of the file.
type fields []field

// get is the value of a field, or nil.
func (fs fields) get(name string) *yaml.Node {
	for _, f := range fs {
		if f.name == name {
			return f.value
		}
	}
	return nil
}

// mapping reads the fields of a mapping. Nothing and null have none.
func (r *nodes) mapping(n *yaml.Node) fields {
	return r.merged(n, maxMerge)
}

func (r *nodes) merged(n *yaml.Node, depth int) fields {
	n = resolve(n)
	if n == nil || !r.is(n, yaml.MappingNode, "a mapping") || !r.take(len(n.Content)) {
		return nil
	}
	var own, merged fields
	seen := make(map[string]bool)
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.ShortTag() == "!!merge" {
			merged = append(merged, r.merge(value, depth-1)...)
			continue
		}
		name := r.text(key)
		if seen[name] {
			r.report(key, "field %q is here twice", shorten(name))
			continue
		}
		seen[name] = true
		own = append(own, field{name, key, value})
	}
	for _, f := range merged {
		if !seen[f.name] {
			seen[f.name] = true
			own = append(own, f)
		}
	}
	return own
}

// merge reads the value of a merge key: a mapping, or several.
func (r *nodes) merge(n *yaml.Node, depth int) fields {
	if depth == 0 {
		r.report(n, "mappings are merged more than %d deep", maxMerge-1)
		return nil
	}
	if n = resolve(n); n == nil || n.Kind != yaml.SequenceNode {
		return r.merged(n, depth)
	}
	var all fields
	for _, item := range r.list(n) {
		all = append(all, r.merged(item, depth)...)
	}
	return all
}

// list reads the items of a sequence. Nothing and null have none.
func (r *nodes) list(n *yaml.Node) []*yaml.Node {
	n = resolve(n)
	if n == nil || !r.is(n, yaml.SequenceNode, "a list") || !r.take(len(n.Content)) {
		return nil
	}
	return n.Content
}

// text reads a scalar, whatever its type. Nothing and null are empty.
func (r *nodes) text(n *yaml.Node) string {
	n = resolve(n)
	if n == nil || !r.is(n, yaml.ScalarNode, "a text") || !r.take(len(n.Value)+1) {
		return ""
	}
	return n.Value
}

func (r *nodes) is(n *yaml.Node, kind yaml.Kind, what string) bool {
	if n.Kind != kind {
		r.report(n, "not %s", what)
	}
	return n.Kind == kind
}

// resolve is what n stands for; null stands for nothing.
func resolve(n *yaml.Node) *yaml.Node {
	if n != nil && n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n != nil && n.ShortTag() == "!!null" {
		return nil
	}
	return n
}
