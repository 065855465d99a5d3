// Package fingerprint tells whether two builds of a Go program behave the same.
package fingerprint

import (
	"bytes"
	"debug/elf"
	"debug/macho"
	"encoding/binary"
	"fmt"
	"hash/maphash"
	"os"
	"slices"
)

// A Sum identifies a binary within one run of this program.
type Sum struct {
	// Code covers what the program executes and reads: equal for two builds
	// whose sources differ only in comments and line numbers.
	Code uint64
	// Whole covers every byte that is loaded or that a debugger reads.
	Whole uint64
}

// A Hasher computes sums. Sums of two hashers do not compare.
type Hasher struct{ seed maphash.Seed }

// New returns a Hasher.
func New() Hasher { return Hasher{maphash.MakeSeed()} }

// A section is a named part of an executable.
type section struct {
	name     string
	addr     uint64
	code     bool // executed or read by the program itself
	contents []byte
}

// File sums the executable at path. For ELF and Mach-O, build ids count for
// nothing, and the line table does not count as code; any other format is
// taken as it is. The error is the one of reading the file.
func (h Hasher) File(path string) (Sum, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return Sum{}, fmt.Errorf("read binary: %w", err)
	}
	sections, ok := elfSections(data)
	if !ok {
		sections, ok = machoSections(data)
	}
	if !ok {
		all := maphash.Bytes(h.seed, data)
		return Sum{Code: all, Whole: all}, nil
	}
	var code, whole maphash.Hash
	code.SetSeed(h.seed)
	whole.SetSeed(h.seed)
	for _, s := range sections {
		add(&whole, s)
		if s.code {
			add(&code, s)
		}
	}
	return Sum{Code: code.Sum64(), Whole: whole.Sum64()}, nil
}

func add(h *maphash.Hash, s section) {
	var place [16]byte
	binary.LittleEndian.PutUint64(place[:8], s.addr)
	binary.LittleEndian.PutUint64(place[8:], uint64(len(s.contents)))
	h.WriteString(s.name)
	h.Write(place[:])
	h.Write(s.contents)
}

// isLineTable reports whether a section holds line numbers, or is the table of
// contents of all sections, which holds the line table's size.
func isLineTable(name string) bool {
	switch name {
	case ".gopclntab", ".go.module", "__gopclntab", "__go_module":
		return true
	}
	return false
}

func elfSections(data []byte) ([]section, bool) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, false
	}
	var out []section
	for _, s := range f.Sections {
		if s.Type == elf.SHT_NOTE || s.Type == elf.SHT_NOBITS || s.Type == elf.SHT_NULL {
			continue
		}
		contents, ok := slice(data, s.Offset, s.FileSize)
		if !ok {
			return nil, false
		}
		loaded := s.Flags&elf.SHF_ALLOC != 0
		out = append(out, section{s.Name, s.Addr, loaded && !isLineTable(s.Name), contents})
	}
	return out, true
}

func machoSections(data []byte) ([]section, bool) {
	f, err := macho.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, false
	}
	var out []section
	for _, s := range f.Sections {
		if s.Offset == 0 {
			continue // zero-filled: nothing in the file
		}
		contents, ok := slice(data, uint64(s.Offset), s.Size)
		if !ok {
			return nil, false
		}
		if s.Name == "__text" {
			contents = withoutBuildID(contents)
		}
		out = append(out, section{s.Name, s.Addr, s.Seg != "__DWARF" && !isLineTable(s.Name), contents})
	}
	return out, true
}

// withoutBuildID returns the text without the build id, which the linker puts
// there where the format has no notes.
func withoutBuildID(text []byte) []byte {
	begin := bytes.Index(text, []byte("\xff Go build ID: \""))
	if begin < 0 {
		return text
	}
	_, rest, ok := bytes.Cut(text[begin:], []byte("\"\n \xff"))
	if !ok {
		return text
	}
	return slices.Concat(text[:begin], rest)
}

func slice(data []byte, offset, size uint64) ([]byte, bool) {
	n := uint64(len(data))
	if offset > n || size > n-offset {
		return nil, false
	}
	return data[offset : offset+size], true
}
