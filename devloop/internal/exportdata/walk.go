package exportdata

import (
	"crypto/sha256"
	"fmt"
	"hash"
)

// A walker sums an element word by word, and leaves out its positions. What an
// element of a kind consists of is what cmd/compile/internal/noder, writer.go,
// writes, and go/internal/gcimporter, ureader.go, reads.
type walker struct {
	*reader
	of *summer
	h  hash.Hash
}

func (s *summer) walk(r ref) *walker {
	w := &walker{s.reader(r), s, sha256.New()}
	write(w.h, uint64(r.section))
	return w
}

// sum returns the sum of an element that has been walked to its end.
func (w *walker) sum() (Sum, error) {
	if w.err == nil && len(w.text) > 0 {
		w.err = fmt.Errorf("the export data has %d more bytes than are known in an element", len(w.text))
	}
	return Sum(w.h.Sum(nil)), w.err
}

// number sums a number, and returns it.
func (w *walker) number() uint64 {
	n := w.uint()
	write(w.h, n)
	return n
}

// list walks a list with its length.
func (w *walker) list(one func()) { w.times(w.number(), one) }

func (w *walker) times(n uint64, one func()) {
	for ; n > 0 && w.err == nil; n-- {
		one()
	}
}

// flag sums a bool, and returns it.
func (w *walker) flag() bool { return w.number() != 0 }

// use sums a reference.
func (w *walker) use(s section) {
	to := w.ref(s)
	if w.err != nil {
		return
	}
	sum, err := w.of.of(to)
	if err != nil {
		w.err = err
		return
	}
	w.h.Write(sum[:])
}

// position reads a position, and leaves it out.
func (w *walker) position() {
	if w.uint() == 0 {
		return // unknown
	}
	w.ref(posBases)
	w.uint() // line
	w.uint() // column
}

func (w *walker) ident() {
	w.use(pkgs)
	w.use(texts)
}

// typ walks the use of a type.
func (w *walker) typ() {
	if w.flag() { // depends on type parameters
		w.number()
	} else {
		w.use(types)
	}
}

// Kinds of types (internal/pkgbits, codes.go).
const (
	typeBasic = iota
	typeNamed
	typePointer
	typeSlice
	typeArray
	typeChan
	typeMap
	typeSignature
	typeStruct
	typeInterface
	typeUnion
	typeParam
)

func (w *walker) typeElement() {
	switch kind := w.number(); kind {
	case typeBasic, typeParam:
		w.number()
	case typeNamed:
		w.use(objs)
		w.list(w.typ)
	case typePointer, typeSlice:
		w.typ()
	case typeArray, typeChan:
		w.number()
		w.typ()
	case typeMap:
		w.typ()
		w.typ()
	case typeSignature:
		w.signature()
	case typeStruct:
		w.list(func() {
			w.position()
			w.ident()
			w.typ()
			w.use(texts) // the tag
			w.flag()     // embedded
		})
	case typeInterface:
		w.interfaceType()
	case typeUnion:
		w.list(func() {
			w.flag() // ~
			w.typ()
		})
	default:
		w.unknown("type", kind)
	}
}

func (w *walker) interfaceType() {
	methods, embedded := w.number(), w.number()
	if methods == 0 && embedded == 1 {
		w.flag() // implicit
	}
	w.times(methods, func() {
		w.position()
		w.ident()
		w.signature()
	})
	w.times(embedded, w.typ)
}

func (w *walker) signature() {
	w.list(w.param)
	w.list(w.param)
	w.flag() // variadic
}

func (w *walker) param() {
	w.position()
	w.ident()
	w.typ()
}

func (w *walker) unknown(what string, kind uint64) {
	if w.err == nil {
		w.err = fmt.Errorf("the export data has a %s of kind %d, which is not known", what, kind)
	}
}

// Kinds of objects (internal/pkgbits, codes.go).
const (
	objAlias = iota
	objConst
	objType
	objFunc
	objVar
	objStub
)

// object sums an object.
func (s *summer) object(i int) (Sum, error) {
	name := s.reader(ref{names, i})
	pkg, local := name.ref(pkgs), name.ref(texts)
	kind := name.uint()
	dict := s.reader(ref{objDicts, i})
	generic := dict.uint()+dict.uint() > 0
	if name.err != nil || dict.err != nil {
		return Sum{}, errShort
	}
	in := s.reader(pkg)
	path, err := s.text(in.ref(texts))
	if err != nil {
		return Sum{}, err
	}
	of, err := s.text(local)
	if err != nil {
		return Sum{}, err
	}
	if generic || s.inlined[path+"."+of] {
		return s.whole(ref{objs, i})
	}
	w := s.walk(ref{objs, i})
	w.object(kind)
	return w.sum()
}

func (w *walker) object(kind uint64) {
	if kind == objStub {
		return
	}
	w.position()
	switch kind {
	case objAlias, objVar:
		w.typ()
	case objConst:
		w.typ()
		w.constant()
	case objFunc:
		w.signature()
		w.position() // of the declaration
	case objType:
		w.typ()
		w.list(func() {
			w.position()
			w.ident()
			w.param() // the receiver
			w.signature()
			w.position() // of the declaration
		})
	default:
		w.unknown("object", kind)
	}
}

// Kinds of constants (internal/pkgbits, codes.go).
const (
	constBool = iota
	constString
	constInt64
	constBigInt
	constBigRat
	constBigFloat
)

func (w *walker) constant() {
	complex := w.flag()
	w.scalar()
	if complex {
		w.scalar()
	}
}

func (w *walker) scalar() {
	bigInt := func() {
		w.use(texts)
		w.flag() // negative
	}
	switch kind := w.number(); kind {
	case constBool:
		w.flag()
	case constString, constBigFloat:
		w.use(texts)
	case constInt64:
		w.number()
	case constBigInt:
		bigInt()
	case constBigRat:
		bigInt()
		bigInt()
	default:
		w.unknown("constant", kind)
	}
}
