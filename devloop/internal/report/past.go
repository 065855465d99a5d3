package report

import "context"

// kept is how many bytes a terminal that comes later can still see.
const kept = 64 << 10

// A past is the end of what was printed. Its zero value is empty and ready.
type past struct {
	text    []byte
	end     int64         // bytes printed so far: text is the last of them
	changed chan struct{} // closed and replaced at each addition; nil if no one waits
}

func (p *past) add(b []byte) {
	p.end += int64(len(b))
	p.text = append(p.text, b...)
	if n := len(p.text) - kept; n > 0 {
		p.text = append(p.text[:0], p.text[n:]...)
	}
	if p.changed != nil {
		close(p.changed)
		p.changed = nil
	}
}

// since returns what was printed after a place, or the part of it that is kept.
func (p *past) since(place int64) string {
	n := min(p.end-place, int64(len(p.text)))
	return string(p.text[int64(len(p.text))-max(n, 0):])
}

// End returns the place after what was printed.
func (p *Printer) End() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.past.end
}

// Since returns what was printed after a place, waiting until there is
// something, and the place after that. It returns nothing once ctx is done.
func (p *Printer) Since(ctx context.Context, place int64) (text string, end int64) {
	for {
		p.mu.Lock()
		text, end = p.past.since(place), p.past.end
		if p.past.changed == nil {
			p.past.changed = make(chan struct{})
		}
		changed := p.past.changed
		p.mu.Unlock()
		if text != "" {
			return text, end
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return "", place
		}
	}
}
