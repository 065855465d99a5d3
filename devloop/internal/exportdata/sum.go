package exportdata

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"strings"
)

// A Sum stands for what those who import a package see of it.
type Sum [sha256.Size]byte

// Of returns the sum of a compiled package, given its archive. If it is equal for
// two archives, a package that is compiled against either becomes the same
// program: the sum covers everything that the compiler reads but for positions,
// which only reach error messages.
//
// There are two exceptions, and their positions are covered: a generic object,
// and one with a body to inline, are compiled in the importing package, with
// their lines. One is left: the compiler's own wrappers of promoted methods note,
// in the debug information alone, on which line a parameter was declared
// (cmd/compile/internal/noder, reader.go, newWrapperType).
func Of(archive []byte) (Sum, error) {
	f, err := parse(archive)
	if err != nil {
		return Sum{}, err
	}
	s := &summer{file: f, known: make(map[ref]*Sum), inlined: make(map[string]bool)}
	return s.all()
}

// A summer sums elements by their contents: two elements have the same sum if
// they say the same, wherever in the file they and what they refer to are.
type summer struct {
	*file
	known   map[ref]*Sum    // nil: begun
	inlined map[string]bool // what has a body to inline, "path.name"
}

func (s *summer) all() (Sum, error) {
	if err := s.bodies(); err != nil {
		return Sum{}, err
	}
	h := sha256.New()
	h.Write([]byte(s.header))
	for i := range s.count[objs] {
		for _, of := range []section{names, objExts, objDicts} {
			sum, err := s.of(ref{of, i})
			if err != nil {
				return Sum{}, err
			}
			h.Write(sum[:])
		}
		sum, err := s.object(i)
		if err != nil {
			return Sum{}, err
		}
		h.Write(sum[:])
	}
	// The public root names the package and lists its objects, which have been
	// summed. The private root says whether it has something to initialise, and
	// lists the bodies.
	public := s.reader(ref{metas, publicRoot})
	self := public.ref(pkgs)
	if public.err != nil {
		return Sum{}, public.err
	}
	for _, r := range []ref{self, {metas, privateRoot}} {
		sum, err := s.of(r)
		if err != nil {
			return Sum{}, err
		}
		h.Write(sum[:])
	}
	return Sum(h.Sum(nil)), nil
}

// bodies notes what has a body to inline: functions, and for a method its type.
func (s *summer) bodies() error {
	r := s.reader(ref{metas, privateRoot})
	r.uint() // whether there is something to initialise
	for range r.uint() {
		path, name := r.ref(texts), r.ref(texts)
		r.ref(bodies)
		if r.err != nil {
			break
		}
		in, err := s.text(path)
		if err != nil {
			return err
		}
		of, err := s.text(name)
		if err != nil {
			return err
		}
		of, _, _ = strings.Cut(strings.TrimPrefix(of, "(*"), ".")
		s.inlined[in+"."+strings.TrimSuffix(of, ")")] = true
	}
	return r.err
}

// of returns the sum of an element. A reference to an object counts as its name:
// the object itself is summed once, by all.
func (s *summer) of(r ref) (Sum, error) {
	if r.section == objs {
		r.section = names
	}
	if sum, ok := s.known[r]; ok {
		if sum == nil {
			return Sum{}, errors.New("the export data refers to itself")
		}
		return *sum, nil
	}
	s.known[r] = nil
	sum, err := s.compute(r)
	if err != nil {
		return Sum{}, err
	}
	s.known[r] = &sum
	return sum, nil
}

func (s *summer) compute(r ref) (Sum, error) {
	if r.section == texts {
		text, err := s.element(r)
		return sha256.Sum256(text), err
	}
	if r.section == types {
		w := s.walk(r)
		w.typeElement()
		return w.sum()
	}
	return s.whole(r)
}

// whole sums an element with its positions, if it has any.
func (s *summer) whole(r ref) (Sum, error) {
	e := s.reader(r)
	h := sha256.New()
	write(h, uint64(r.section), uint64(len(e.refs)))
	for _, to := range e.refs {
		sum, err := s.of(to)
		if err != nil {
			return Sum{}, err
		}
		write(h, uint64(to.section))
		h.Write(sum[:])
	}
	h.Write(e.text)
	return Sum(h.Sum(nil)), e.err
}

func write(h hash.Hash, numbers ...uint64) {
	var b [8]byte
	for _, n := range numbers {
		binary.LittleEndian.PutUint64(b[:], n)
		h.Write(b[:])
	}
}
