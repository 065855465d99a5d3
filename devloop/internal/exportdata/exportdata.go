// Package exportdata reads, sums and stamps what Go's compiler says of a package
// to those who import it.
//
// The format is Go's own and internal: "unified" export data, as written by
// cmd/compile/internal/noder (writer.go, linker.go) with internal/pkgbits, in an
// archive as of cmd/internal/archive. What this package does not know exactly, it
// refuses.
package exportdata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// A section is a kind of element (internal/pkgbits, reloc.go).
type section uint64

const (
	texts section = iota
	metas
	posBases
	pkgs
	names
	types
	objs
	objExts
	objDicts
	bodies
	numSections
)

const (
	publicRoot  = 0 // among the metas
	privateRoot = 1

	version         = 2 // of internal/pkgbits
	fingerprintSize = 8
)

// errShort is all that is said of data that ends too early.
var errShort = errors.New("the export data is cut short")

// A file is the export data of one package.
type file struct {
	header string           // the archive's: toolchain, system, experiments
	first  [numSections]int // index in ends of each section's first element
	count  [numSections]int // how many elements each section has
	ends   []uint32         // where in data each element ends
	data   []byte           // all elements
	print  [fingerprintSize]byte
	at     int // where in the archive the fingerprint is
}

// A ref names an element by its index within a section.
type ref struct {
	section section
	index   int
}

// parse reads the table of an archive's export data.
func parse(archive []byte) (*file, error) {
	entry, err := member(archive, "__.PKGDEF")
	if err != nil {
		return nil, err
	}
	const begin, end = "\n$$B\nu", "\n$$\n"
	text := archive[entry.begin:entry.end]
	i := bytes.Index(text, []byte(begin))
	// The archive pads to an even size.
	text = bytes.TrimSuffix(text, []byte{0})
	if i < 0 || !bytes.HasSuffix(text, []byte(end)) {
		return nil, errors.New("the archive has no unified export data")
	}
	header := string(text[:i])
	if err := known(header); err != nil {
		return nil, err
	}
	f := &file{header: header, at: entry.begin + len(text) - len(end) - fingerprintSize}
	return f, f.table(text[i+len(begin) : len(text)-len(end)])
}

// known reports why an object of this header is not understood, if it is not.
func known(header string) error {
	first, _, _ := strings.Cut(header, "\n")
	words := strings.Fields(first)
	if len(words) < 5 || words[0] != "go" || words[1] != "object" {
		return fmt.Errorf("the archive begins with %q, not with the toolchain", first)
	}
	if release := words[4]; release != "go1.26" && !strings.HasPrefix(release, "go1.26.") {
		return fmt.Errorf("the archive is of %s, and only go1.26 is known", release)
	}
	return nil
}

// table reads the section table (internal/pkgbits, decoder.go, NewPkgDecoder).
func (f *file) table(text []byte) error {
	word := func() uint32 {
		if len(text) < 4 {
			text = nil
			return 0
		}
		w := binary.LittleEndian.Uint32(text)
		text = text[4:]
		return w
	}
	if v := word(); v != version {
		return fmt.Errorf("the export data has version %d, and only %d is known", v, version)
	}
	if flags := word(); flags != 0 {
		return fmt.Errorf("the export data has the flags %#x, and none is known", flags)
	}
	before := 0
	for s := range f.first {
		end := int(word())
		if end < before {
			return errors.New("the export data's sections are out of order")
		}
		f.first[s], f.count[s] = before, end-before
		before = end
	}
	if before == 0 || len(text) < 4*before+fingerprintSize {
		return errShort
	}
	f.ends = make([]uint32, before)
	for i := range f.ends {
		f.ends[i] = word()
	}
	f.data = text[:len(text)-fingerprintSize]
	copy(f.print[:], text[len(f.data):])
	if !slices.IsSorted(f.ends) || int(f.ends[before-1]) != len(f.data) {
		return errors.New("the export data's elements are out of order")
	}
	objects := f.count[objs]
	if f.count[names] != objects || f.count[objExts] != objects || f.count[objDicts] != objects || f.count[metas] != privateRoot+1 {
		return errors.New("the export data's sections do not fit")
	}
	return nil
}

// element returns the bytes of an element.
func (f *file) element(r ref) ([]byte, error) {
	if r.section >= numSections || r.index < 0 || r.index >= f.count[r.section] {
		return nil, fmt.Errorf("the export data refers to element %d of section %d, which it does not have", r.index, r.section)
	}
	i := f.first[r.section] + r.index
	begin := uint32(0)
	if i > 0 {
		begin = f.ends[i-1]
	}
	return f.data[begin:f.ends[i]], nil
}

// A reader reads an element: a table of the elements that it refers to, then
// text that refers to them by their place in the table. The first error stays.
type reader struct {
	refs []ref
	text []byte
	err  error
}

func (f *file) reader(r ref) *reader {
	text, err := f.element(r)
	e := &reader{text: text, err: err}
	for range e.uint() {
		e.refs = append(e.refs, ref{section(e.uint()), int(e.uint())})
		if e.err != nil {
			break
		}
	}
	return e
}

// uint reads a number. Signed ones are only ever passed on, as they are encoded.
func (r *reader) uint() uint64 {
	x, n := binary.Uvarint(r.text)
	if n <= 0 {
		if r.err == nil {
			r.err = errShort
		}
		r.text = nil
		return 0
	}
	r.text = r.text[n:]
	return x
}

// ref reads a reference to an element of a section.
func (r *reader) ref(s section) ref {
	i := r.uint()
	if r.err != nil {
		return ref{}
	}
	if i >= uint64(len(r.refs)) || r.refs[i].section != s {
		r.err = fmt.Errorf("the export data does not refer to an element of section %d where it should", s)
		return ref{}
	}
	return r.refs[i]
}

// text returns the text of a string element.
func (f *file) text(r ref) (string, error) {
	if r.section != texts {
		return "", errors.New("the export data has no text where it should")
	}
	text, err := f.element(r)
	return string(text), err
}
