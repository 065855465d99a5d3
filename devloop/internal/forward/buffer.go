package forward

import (
	"bytes"
	"errors"
	"io"
	"sync"
)

const (
	smallBuffer = 4 << 10 // what each direction of a connection has
	largeBuffer = 1 << 20 // what it has while it carries much
	headLimit   = 1 << 20 // net/http's own limit
)

var errHeadTooLarge = errors.New("the head is larger than 1 MB")

// A buffer holds what was read from a connection and not yet passed on.
type buffer struct {
	space []byte
	r, w  int
	pool  *pool
	large *[largeBuffer]byte // the pool's, if space is that
	small []byte             // set aside while space is larger
}

// A pool has the large buffers that nobody uses, since who needs one often needs
// it only for a moment, but again and again.
type pool struct{ sync.Pool }

func (p *pool) get() *[largeBuffer]byte {
	if l, ok := p.Get().(*[largeBuffer]byte); ok {
		return l
	}
	return new([largeBuffer]byte)
}

func (b *buffer) len() int      { return b.w - b.r }
func (b *buffer) bytes() []byte { return b.space[b.r:b.w] }
func (b *buffer) full() bool    { return b.w == len(b.space) && b.r == 0 && b.w > 0 }

// take removes the first n bytes, which stay valid until the next fill.
func (b *buffer) take(n int) []byte {
	p := b.space[b.r : b.r+n]
	b.r += n
	return p
}

// fill reads once. It reads nothing if the buffer is full.
func (b *buffer) fill(src io.Reader) (int, error) {
	if b.space == nil {
		b.space = make([]byte, smallBuffer)
	}
	if b.r > 0 {
		b.w = copy(b.space, b.space[b.r:b.w])
		b.r = 0
	}
	n, err := src.Read(b.space[b.w:])
	b.w += n
	if n > 0 {
		err = nil // the next read says so again
	}
	return n, err
}

// use replaces the buffer's memory, and keeps its contents.
func (b *buffer) use(space []byte, large *[largeBuffer]byte) {
	if len(b.space) == smallBuffer {
		b.small = b.space
	}
	b.w = copy(space, b.bytes())
	b.r, b.space = 0, space
	if b.large != nil {
		b.pool.Put(b.large)
	}
	b.large = large
}

// read reads once more for a body. Whoever sends much gets a large buffer, until
// less comes: most connections are quiet, and there may be many.
func (b *buffer) read(src io.Reader) error {
	n, err := b.fill(src)
	switch {
	case b.large == nil && n == len(b.space) && n < largeBuffer:
		b.grow()
	case n < smallBuffer:
		b.shrink()
	}
	return err
}

// grow takes a large buffer, unless it has one.
func (b *buffer) grow() {
	if b.large == nil {
		l := b.pool.get()
		b.use(l[:], l)
	}
}

// shrink gives memory back, if the contents allow it.
func (b *buffer) shrink() {
	if len(b.space) <= smallBuffer || b.len() > smallBuffer {
		return
	}
	small := b.small
	if b.small = nil; small == nil {
		small = make([]byte, smallBuffer)
	}
	b.use(small, nil)
}

// head reads until the buffer begins with a whole head, and returns it with its
// empty line. It stays valid until the next fill.
func (b *buffer) head(src io.Reader) ([]byte, error) {
	for searched := 0; ; {
		if n := headEnd(b.bytes(), searched); n > 0 {
			head := b.take(n)
			if b.large == nil { // whose memory others might get while the head is in use
				b.shrink()
			}
			return head, nil
		}
		searched = max(b.len()-3, 0)
		if b.full() {
			if b.len() >= headLimit {
				return nil, errHeadTooLarge
			}
			b.use(make([]byte, 2*b.len()), nil)
		}
		if _, err := b.fill(src); err != nil {
			return nil, err
		}
	}
}

// headEnd returns the length of the head at the beginning of p, with its empty
// line, or 0 if p does not hold all of it. Lines end with LF or CRLF.
func headEnd(p []byte, from int) int {
	for {
		i := bytes.IndexByte(p[from:], '\n')
		if i < 0 {
			return 0
		}
		from += i + 1
		switch rest := p[from:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return from + 1
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return from + 2
		}
	}
}
