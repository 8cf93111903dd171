// Package corefile reads a Corefile by CoreDNS's own grammar and judges it.
//
// The parser of CoreDNS is made for a file that its owner has written on the same
// machine: it puts the environment of the process into the text, and it includes
// files. Here the text comes from a cluster, and neither must happen. What a
// placeholder or an included file would say is unknown, and so is every answer that
// depends on it.
package corefile

import (
	"crypto/md5"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/coredns/caddy/caddyfile"
)

// MaxSize is the size of the largest Corefile that is read, in bytes. An ordinary one
// has 1 KiB.
const MaxSize = 256 << 10

// Why a text cannot be read.
var (
	// ErrSyntax: CoreDNS cannot read this Corefile either.
	ErrSyntax = errors.New("not a Corefile")
	// ErrRefused: CoreDNS could perhaps read it, but it is beyond the bounds here.
	ErrRefused = errors.New("not examined")
)

// File is a Corefile.
type File struct {
	blocks []block
	// more says that an included file may hold further server blocks.
	more bool
	// source is what the parser made of the unchanged text; nil where the text had
	// to be changed.
	source []caddyfile.ServerBlock
}

// block is one server block.
type block struct {
	zones      []zone
	directives map[string][]caddyfile.Token
	// more says that the block may hold further directives.
	more bool
}

// zone is what a server block answers for. known is false where its key depends on
// something unknown.
type zone struct {
	root  bool
	port  string
	known bool
}

// Parse reads a Corefile. The error is ErrSyntax or ErrRefused.
func Parse(text string) (*File, error) {
	p, err := prepare(text)
	if err != nil {
		return nil, err
	}
	blocks, err := caddyfile.Parse(noDirectory+fileName, strings.NewReader(p.text), nil)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.restore(err.Error()), ErrSyntax)
	}
	f := &File{}
	for _, b := range blocks {
		if len(b.Keys) == 1 && b.Keys[0] == included {
			f.more = true
			continue
		}
		f.blocks = append(f.blocks, makeBlock(b))
	}
	if p.text == text {
		f.source = blocks
	}
	if len(f.blocks) == 0 && !f.more {
		f.blocks = builtIn()
	}
	return f, nil
}

// builtIn is what CoreDNS serves where a Corefile has no server block at all.
func builtIn() []block {
	return []block{{
		zones: []zone{{root: true, port: dnsPort, known: true}},
		directives: map[string][]caddyfile.Token{
			"whoami": {{Text: "whoami"}},
			"log":    {{Text: "log"}},
		},
	}}
}

func makeBlock(b caddyfile.ServerBlock) block {
	made := block{directives: make(map[string][]caddyfile.Token)}
	for _, key := range b.Keys {
		made.zones = append(made.zones, parseZone(key))
	}
	for name, tokens := range b.Tokens {
		made.directives[name] = withoutBraces(tokens)
		if isUnknown(name) {
			made.more = true
		}
	}
	return made
}

// withoutBraces removes the braces behind each included file. They are there for the
// parser; the steps by which directives are read do not allow for a block in a block.
func withoutBraces(tokens []caddyfile.Token) []caddyfile.Token {
	kept := make([]caddyfile.Token, 0, len(tokens))
	for i := 0; i < len(tokens); i++ {
		kept = append(kept, tokens[i])
		if tokens[i].Text == included {
			i += 2
		}
	}
	return kept
}

// isUnknown tells whether anything else could stand in place of this word.
func isUnknown(word string) bool { return word == included || hasPlaceholder(word) }

const dnsPort = "53"

// ports are those that CoreDNS listens on for a key without one.
var ports = map[string]string{
	"dns": dnsPort, "tls": "853", "quic": "853", "grpc": "443", "https": "443", "https3": "443",
}

// parseZone reads the key of a server block, as in "dns://example.org:53".
func parseZone(key string) zone {
	if isUnknown(key) {
		return zone{}
	}
	scheme, rest, found := strings.Cut(key, "://")
	if !found {
		scheme, rest = "dns", key
	}
	name, port := rest, ports[scheme]
	if colon := strings.LastIndexByte(rest, ':'); colon >= 0 {
		if number, err := strconv.Atoi(rest[colon+1:]); err == nil {
			name, port = rest[:colon], strconv.Itoa(number)
		}
	}
	return zone{root: name == "" || name == ".", port: port, known: true}
}

// directive is one use of a directive, with the lines of its block.
type directive struct {
	args  []string
	lines []line
}

type line struct {
	name string
	args []string
}

// uses lists every use of a directive in the block. It reads the tokens by the same
// steps as the plugins of CoreDNS do.
func (b block) uses(name string) []directive {
	d := caddyfile.NewDispenserTokens(fileName, b.directives[name])
	var list []directive
	for d.Next() {
		use := directive{args: d.RemainingArgs()}
		for d.NextBlock() {
			use.lines = append(use.lines, line{d.Val(), d.RemainingArgs()})
		}
		list = append(list, use)
	}
	return list
}

// more says that the directive may have further lines.
func (d directive) more() bool {
	for _, l := range d.lines {
		if isUnknown(l.name) {
			return true
		}
	}
	return false
}

func (d directive) has(name string) bool {
	for _, l := range d.lines {
		if l.name == name {
			return true
		}
	}
	return false
}

// Sum is the hash by which the reload plugin names this Corefile: of what the parser
// made of it, as JSON. algorithm is what CoreDNS calls it; 1.8 and later use sha512,
// earlier versions md5. It is not known for another algorithm, and where the text
// has a placeholder or includes a file.
func (f *File) Sum(algorithm string) (sum string, known bool) {
	if f.source == nil {
		return "", false
	}
	encoded, err := json.Marshal(f.source)
	if err != nil {
		return "", false
	}
	switch algorithm {
	case "sha512":
		s := sha512.Sum512(encoded)
		return hex.EncodeToString(s[:]), true
	case "md5":
		s := md5.Sum(encoded)
		return hex.EncodeToString(s[:]), true
	default:
		return "", false
	}
}
