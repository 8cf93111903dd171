package rulelint

import (
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// source is the lines of a file.
type source []string

func newSource(content []byte) source {
	return strings.Split(string(content), "\n")
}

// line is where a byte of the scalar n stands. A block or a plain scalar has the
// characters of its value in the file in the same order, with other white space
// between them; so it counts those. Other scalars are taken as one line.
func (s source) line(n *yaml.Node, pos int) int {
	line, column := n.Line, n.Column
	switch {
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		line, column = line+1, 1
	case n.Style != 0 || n.Anchor != "":
		return n.Line
	}
	pos = max(0, min(pos, len(n.Value)))
	// The end of the expression is where its last character is.
	ahead := min(inked(n.Value[:pos]), inked(n.Value)-1)
	for i := line - 1; i < len(s) && i >= 0; i++ {
		text := s[i]
		if i == line-1 {
			text = skip(text, column-1)
		}
		if ahead -= inked(text); ahead < 0 {
			return i + 1
		}
	}
	return n.Line
}

// inked counts the characters that are no white space.
func inked(s string) int {
	count := 0
	for _, r := range s {
		if !unicode.IsSpace(r) {
			count++
		}
	}
	return count
}

// skip is s without its first n characters.
func skip(s string, n int) string {
	runes := []rune(s)
	return string(runes[max(0, min(n, len(runes))):])
}
