package certificate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"ack-exporter/internal/hostfs"
)

// What one refresh reads at most. A master has about 30 files.
const (
	maxFiles            = 2000 // also counts folders that cannot be read
	maxFileNames        = 10000
	maxFileBytes        = 64 << 20
	maxFileCertificates = 2000
	// maxFileDepth bounds how deep folders lie below the one that is named.
	maxFileDepth = 16
)

// filePass is one refresh: what it has found, and how much more it may read.
type filePass struct {
	root    *hostfs.Root
	entries map[fileID]*Entry
	found   []foundCertificate

	names, bytes, certificates int // left
}

type fileID struct {
	source   Source
	location string
}

// foundCertificate is a certificate and where it is told of.
type foundCertificate struct {
	entry       *Entry
	key         string
	certificate *x509.Certificate
}

func newFilePass(root *hostfs.Root) *filePass {
	return &filePass{
		root: root, entries: make(map[fileID]*Entry),
		names: maxFileNames, bytes: maxFileBytes, certificates: maxFileCertificates,
	}
}

// exhausted tells that this refresh reads no further file.
func (p *filePass) exhausted(ctx context.Context) bool {
	return len(p.entries) >= maxFiles || p.bytes < maxBundle || p.certificates <= 0 || ctx.Err() != nil
}

// expand reads what is at dir and below it matches rest, the components of a pattern.
// It reports whether anything is there.
func (p *filePass) expand(ctx context.Context, source Source, dir string, rest []string) bool {
	i := slices.IndexFunc(rest, hasWildcard)
	if i < 0 {
		return p.take(ctx, source, path.Join(dir, path.Join(rest...)))
	}
	dir = path.Join(dir, path.Join(rest[:i]...))
	entries, err := p.root.ReadDir(dir, p.names)
	p.names -= len(entries)
	if err != nil && !isAbsent(err) && !errors.Is(err, hostfs.ErrNotRegular) {
		p.entry(source, dir).fail("", folderReason(err))
	}
	isLast := i == len(rest)-1
	found := false
	for _, e := range entries {
		name := e.Name()
		if !matchesAny(rest[i:i+1], name) || isLast && source == SourceFile && isUnread(name) {
			continue
		}
		if p.exhausted(ctx) {
			p.entry(source, dir).fail("", ReasonTooMany)
			return true
		}
		if p.expand(ctx, source, path.Join(dir, name), rest[i+1:]) {
			found = true
		}
	}
	return found
}

// isUnread tells by its name that a file is not read.
func isUnread(name string) bool {
	return matchesAny(keyNames(), name) || matchesAny(generationNames(), name)
}

// take reads the file or folder at a path, and reports whether there is one.
func (p *filePass) take(ctx context.Context, source Source, location string) bool {
	info, err := p.root.Stat(location)
	switch {
	case isAbsent(err):
		return false
	case p.exhausted(ctx):
		p.entry(source, location).fail("", ReasonTooMany)
	case err != nil:
		p.entry(source, location).fail("", fileReason(err))
	case source == SourceKubeconfig:
		p.kubeconfig(location)
	case info.IsDir():
		p.walk(ctx, location, []fs.FileInfo{info})
	default:
		p.file(location)
	}
	return true
}

// walk reads the certificates in a folder and in all below it, also where links lead
// to them. The last of chain is the folder itself, those before it are above it.
func (p *filePass) walk(ctx context.Context, dir string, chain []fs.FileInfo) {
	entries, err := p.root.ReadDir(dir, p.names)
	p.names -= len(entries)
	if err != nil {
		p.entry(SourceFile, dir).fail("", folderReason(err))
	}
	for _, e := range entries {
		if p.exhausted(ctx) {
			p.entry(SourceFile, dir).fail("", ReasonTooMany)
			return
		}
		p.walkEntry(ctx, dir, e, chain)
	}
}

func (p *filePass) walkEntry(ctx context.Context, dir string, e fs.DirEntry, chain []fs.FileInfo) {
	name := e.Name()
	isLink := e.Type()&fs.ModeSymlink != 0
	wanted := matchesAny(certificateNames(), strings.ToLower(name))
	switch {
	case strings.HasPrefix(name, ".."):
		return // by way of these Kubernetes exchanges the files of a volume; links lead to them
	case !e.IsDir() && isUnread(name), !e.IsDir() && !isLink && !wanted:
		return
	}
	location := path.Join(dir, name)
	info, err := p.root.Stat(location)
	switch {
	case err != nil:
		// A link with another extension was never a certificate, one without could be a folder.
		if wanted || e.IsDir() || path.Ext(name) == "" {
			p.entry(SourceFile, location).fail("", fileReason(err))
		}
	case !info.IsDir():
		if wanted {
			p.file(location)
		}
	case slices.ContainsFunc(chain, func(above fs.FileInfo) bool { return os.SameFile(above, info) }):
		p.entry(SourceFile, location).fail("", ReasonLoop)
	case len(chain) > maxFileDepth:
		p.entry(SourceFile, location).fail("", ReasonTooMany)
	default:
		p.walk(ctx, location, append(slices.Clip(chain), info))
	}
}

// file reads the certificates in one file, and its private key if it has one too.
func (p *filePass) file(location string) {
	if p.isKnown(SourceFile, location) {
		return // by way of another pattern
	}
	entry := p.entry(SourceFile, location)
	content, reason := p.read(location, maxBundle)
	if reason != "" {
		entry.fail("", reason)
		return
	}
	first := p.add(entry, "", content, fileClass(location))
	if first != nil && bytes.Contains(content, []byte("PRIVATE KEY-----")) {
		entry.judgeKey("", first, "", content)
	}
}

// read reads a file, or says why it cannot. What a kubeconfig names comes here by a
// way of its own.
func (p *filePass) read(location string, limit int) ([]byte, Reason) {
	switch {
	case matchesAny(keyNames(), path.Base(location)):
		return nil, ReasonNoCertificate
	case p.bytes < limit:
		return nil, ReasonTooMany
	}
	content, err := p.root.ReadFile(location, limit)
	if err != nil {
		return nil, fileReason(err)
	}
	p.bytes -= len(content)
	return content, ""
}

// add tells of the certificates in a bundle, and returns the first of them.
func (p *filePass) add(entry *Entry, key string, bundle []byte, class Class) *x509.Certificate {
	if p.certificates <= 0 {
		entry.fail(key, ReasonTooMany)
		return nil
	}
	certificates := entry.add(key, class, bundle)
	for _, c := range certificates {
		p.found = append(p.found, foundCertificate{entry, key, c})
	}
	p.certificates -= len(certificates)
	if len(certificates) == 0 {
		return nil
	}
	return certificates[0]
}

// judgeIssuers looks for certificates that outlive their issuers, wherever on the node
// those were found.
func (p *filePass) judgeIssuers(ctx context.Context) error {
	all := make([]*x509.Certificate, 0, len(p.found))
	for _, f := range p.found {
		all = append(all, f.certificate)
	}
	known := newIssuers(all)
	for _, f := range p.found {
		if ctx.Err() != nil {
			break
		}
		if known.expireFirst(f.certificate) {
			f.entry.Flaws = append(f.entry.Flaws, Flaw{f.key, ProblemIssuerExpiresFirst})
		}
	}
	return ctx.Err()
}

func (p *filePass) isKnown(source Source, location string) bool {
	_, ok := p.entries[newFileID(source, location)]
	return ok
}

// entry is that of a location, which may be new.
func (p *filePass) entry(source Source, location string) *Entry {
	id := newFileID(source, location)
	if p.entries[id] == nil {
		p.entries[id] = &Entry{Source: source, Location: id.location}
	}
	return p.entries[id]
}

// newFileID makes a label value of the path, of whose bytes the kernel asks nothing.
func newFileID(source Source, location string) fileID {
	return fileID{source, strings.ToValidUTF8(location, "\uFFFD")}
}

// list is what was found, by source and location.
func (p *filePass) list() []Entry {
	entries := make([]Entry, 0, len(p.entries))
	for _, e := range p.entries {
		entries = append(entries, *e)
	}
	slices.SortFunc(entries, func(a, b Entry) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.Location, b.Location))
	})
	return entries
}

// isAbsent tells that nothing has this name; a link that leads nowhere is something.
func isAbsent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// fileReason is why a file could not be read.
func fileReason(err error) Reason {
	for _, c := range []struct {
		err    error
		reason Reason
	}{
		{hostfs.ErrNotRegular, ReasonNotRegular},
		{hostfs.ErrTooLarge, ReasonTooLarge},
		{hostfs.ErrLoop, ReasonLoop},
		{hostfs.ErrDangling, ReasonVanished},
		{fs.ErrNotExist, ReasonVanished},
		{syscall.ENOTDIR, ReasonVanished},
		{fs.ErrPermission, ReasonPermission},
	} {
		if errors.Is(err, c.err) {
			return c.reason
		}
	}
	return ReasonRead
}

// folderReason is why a folder could not be listed, or not to its end.
func folderReason(err error) Reason {
	if errors.Is(err, hostfs.ErrTooLarge) {
		return ReasonTooMany
	}
	return fileReason(err)
}
