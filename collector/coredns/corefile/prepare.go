package corefile

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/coredns/caddy/caddyfile"
)

const (
	fileName = "Corefile"
	// noDirectory is where the parser believes the Corefile to be. No file can be in
	// it, so that a relative name leads nowhere.
	noDirectory = "/dev/null/"
	// included is the directive that stands for the content of a file.
	included = "ack_exporter_included_file"
	// placeholder is how the text of one from the environment begins after it was made
	// harmless.
	placeholder = "{env:"

	// maxTokens bounds the words: the parser takes 1 KiB for each.
	maxTokens  = 25_000
	maxImports = 1000
	// maxWork bounds imports times tokens: the parser moves all tokens at each.
	maxWork = 2_000_000
)

var (
	// The parser drops carriage returns, which could hide a placeholder.
	noReturns      = strings.NewReplacer("\r", "")
	noPlaceholders = strings.NewReplacer("{$", placeholder+"$", "{%", placeholder+"%")
)

func hasPlaceholder(token string) bool { return strings.Contains(token, placeholder) }

// prepared is the text of a Corefile that the parser may see.
type prepared struct {
	text string
	// shift is the number of lines that were put before the text.
	shift int
}

// prepare makes text harmless. Placeholders stay as they are. For every file that is
// included it defines a snippet of that name, since the parser looks for snippets
// first; its content says that something is unknown.
func prepare(text string) (prepared, error) {
	if len(text) > MaxSize {
		return prepared{}, fmt.Errorf("the text has more than %d bytes: %w", MaxSize, ErrRefused)
	}
	safe := noPlaceholders.Replace(noReturns.Replace(text))
	tokens, err := lex(safe)
	if err != nil {
		return prepared{}, err
	}
	im, err := findImports(tokens)
	if err != nil {
		return prepared{}, err
	}
	if err := im.checkWork(len(tokens)); err != nil {
		return prepared{}, err
	}
	var before strings.Builder
	for _, file := range im.files {
		fmt.Fprintf(&before, `"(%s)" { %s { } } `, strings.ReplaceAll(file, `"`, `\"`), included)
	}
	if before.Len() == 0 {
		return prepared{text: safe}, nil
	}
	before.WriteByte('\n')
	p := prepared{shift: strings.Count(before.String(), "\n")}
	// A byte order mark means something at the beginning only.
	p.text = before.String() + strings.TrimPrefix(safe, "\ufeff")
	return p, nil
}

// restore puts the file and the line as its owner knows them into a message of the
// parser, which begins with "FILE:LINE - ".
func (p prepared) restore(message string) string {
	message = strings.TrimPrefix(message, noDirectory)
	position, rest, found := strings.Cut(message, " - ")
	number, err := strconv.Atoi(strings.TrimPrefix(position, fileName+":"))
	if !found || err != nil {
		return message
	}
	return fmt.Sprintf("%s:%d - %s", fileName, max(number-p.shift, 1), rest)
}

// token is a word of the text, and whether it is the first one of its line.
type token struct {
	text  string
	first bool
}

// lex cuts the text into tokens as the parser does.
func lex(text string) ([]token, error) {
	d := caddyfile.NewDispenser(fileName, strings.NewReader(text))
	var tokens []token
	line := 0
	for d.Next() {
		if len(tokens) == maxTokens {
			return nil, fmt.Errorf("more than %d words: %w", maxTokens, ErrRefused)
		}
		tokens = append(tokens, token{d.Val(), d.Line() > line})
		line = d.Line() + strings.Count(d.Val(), "\n")
	}
	return tokens, nil
}

// imports is what a text imports.
type imports struct {
	files    []string
	snippets map[string]snippet
	// names lists every import of a snippet, or of a file, in the whole text.
	names []string
}

// snippet is the part of the text that an import of its name brings.
type snippet struct {
	size  int
	names []string
}

// findImports finds every pair of words that the parser could take for an import.
func findImports(tokens []token) (imports, error) {
	im := imports{snippets: make(map[string]snippet)}
	for i, t := range tokens[:max(len(tokens)-1, 0)] {
		if t.text != "import" || tokens[i+1].text == "" {
			continue // the parser refuses an empty name by itself
		}
		im.names = append(im.names, tokens[i+1].text)
	}
	if len(im.names) > maxImports {
		return im, fmt.Errorf("more than %d imports: %w", maxImports, ErrRefused)
	}
	if len(im.names) == 0 {
		return im, nil
	}
	definitions := findDefinitions(tokens)
	seen := make(map[string]bool)
	for _, name := range im.names {
		if seen[name] {
			continue
		}
		seen[name] = true
		at := definitions[name]
		if len(at) == 0 {
			if strings.Contains(name, `\`) {
				return im, fmt.Errorf("the import of %.100q has a backslash: %w", name, ErrRefused)
			}
			im.files = append(im.files, name)
			im.snippets[name] = snippet{size: 3}
			continue
		}
		s, err := readSnippet(tokens, name, at)
		if err != nil {
			return im, err
		}
		im.snippets[name] = s
	}
	return im, nil
}

// findDefinitions tells where a word looks like the beginning of a snippet.
func findDefinitions(tokens []token) map[string][]int {
	found := make(map[string][]int)
	for i, t := range tokens {
		name, prefixed := strings.CutPrefix(t.text, "(")
		name, suffixed := strings.CutSuffix(name, ")")
		if prefixed && suffixed {
			found[name] = append(found[name], i)
		}
	}
	return found
}

// readSnippet reads the snippet whose name stands at these places. There must be no
// doubt about what it is: a name that the parser does not take for a snippet after
// all must not lead it to a file, and no other text may become its content.
func readSnippet(tokens []token, name string, at []int) (snippet, error) {
	if strings.ContainsAny(name, `/\*?[]`) || path.Clean(name) != name || name == "." || name == ".." {
		return snippet{}, fmt.Errorf("the snippet %.100q has the name of a file: %w", name, ErrRefused)
	}
	begin := at[0]
	if len(at) > 1 || !tokens[begin].first || begin+1 == len(tokens) || tokens[begin+1].text != "{" {
		return snippet{}, fmt.Errorf("the snippet %.100q is not defined in one place: %w", name, ErrRefused)
	}
	var s snippet
	depth := 1
	for i := begin + 2; i < len(tokens) && depth > 0; i++ {
		switch tokens[i].text {
		case "{":
			depth++
		case "}":
			depth--
		case "import":
			if i+1 < len(tokens) && tokens[i+1].text != "" {
				s.names = append(s.names, tokens[i+1].text)
			}
		}
		s.size++
	}
	return s, nil
}

// work is how many imports and tokens a text becomes at most.
type work struct{ imports, tokens int }

// checkWork bounds what the parser has to do.
func (im imports) checkWork(tokens int) error {
	known := make(map[string]work)
	total := work{tokens: tokens}
	for _, name := range im.names {
		w, err := im.workOf(name, known, make(map[string]bool))
		if err != nil {
			return err
		}
		total.imports += w.imports
		total.tokens += w.tokens
		if total.imports > maxImports || total.imports*total.tokens > maxWork {
			return errTooMuch
		}
	}
	return nil
}

var errTooMuch = fmt.Errorf("the snippets that it imports are too many or too large: %w", ErrRefused)

// workOf is what one import becomes. above holds the snippets that lead to it.
func (im imports) workOf(name string, known map[string]work, above map[string]bool) (work, error) {
	if w, ok := known[name]; ok {
		return w, nil
	}
	if above[name] {
		return work{}, fmt.Errorf("the snippet %.100q imports itself: %w", name, ErrSyntax)
	}
	above[name] = true
	defer delete(above, name)
	s := im.snippets[name]
	w := work{imports: 1, tokens: s.size}
	for _, inner := range s.names {
		more, err := im.workOf(inner, known, above)
		if err != nil {
			return work{}, err
		}
		w.imports += more.imports
		w.tokens += more.tokens
		if w.imports > maxImports || w.tokens > maxTokens {
			return work{}, errTooMuch
		}
	}
	known[name] = w
	return w, nil
}
