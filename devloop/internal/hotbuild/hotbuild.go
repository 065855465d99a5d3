// Package hotbuild builds a Go program again after an edit in less time than "go
// build": it compiles what was edited, what truly sees the edit, and links.
//
// The go command compiles every package above an edited one. Most edits change
// nothing that a package above sees, and the sum of the export data tells so
// (package exportdata). What is loaded of the program is what "go build" would have
// made, byte for byte but for its build id. Its debug information may give an older
// line to the parameters of a method that is promoted from another package.
//
// What a build consists of is learnt from the go command once. An edit of any
// other kind than inside of files that are known is refused, for "go build" to
// make. The loop does not use this package yet.
package hotbuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"devloop/internal/gobuild"
	"devloop/internal/process"
)

// A Refusal is a build that "go build" has to make.
type Refusal struct {
	Reason string // in a word or two, for the terminal
	Err    error  // what failed, if something did
}

// Mismatch is the reason of a refusal that must not happen: the linker found that
// a package had been compiled against another than the one that is linked.
const Mismatch = "parts do not fit"

func (r *Refusal) Error() string {
	if r.Err == nil {
		return r.Reason
	}
	return r.Reason + ": " + r.Err.Error()
}

func (r *Refusal) Unwrap() error { return r.Err }

func refuse(reason string) error { return &Refusal{Reason: reason} }

// A Builder keeps the compiled packages of one program. It is used by one
// goroutine at a time. Set the exported fields before first use.
type Builder struct {
	Dir     string // for the compiled packages; it is the builder's own
	Starter *process.Starter

	graph  *graph // nil: unknown
	ready  bool   // every package of the graph has been compiled once
	linked string // build id of the latest program
}

// A Result is what a build did.
type Result struct {
	Compiled []string // import paths, in order
}

// A Mode says what of a program is linked.
type Mode int

const (
	// Serving leaves out what only a debugger reads. Nothing that is loaded into
	// memory differs.
	Serving Mode = iota
	// Debugging is what the request asks for.
	Debugging
)

// Learn asks the go command what a build consists of, unless that is known, and
// compiles the module's own packages that no build has compiled yet. When it is
// cancelled, the next call goes on. It expects that "go build" has just succeeded:
// then the go command has all else in its cache. It returns a *Refusal if the
// program is one that this package cannot build.
func (b *Builder) Learn(ctx context.Context, r gobuild.Request) error {
	if b.graph == nil || b.graph.outdated || !b.graph.request.Same(r) {
		b.ready = false
		g, err := learn(ctx, b.Starter, r)
		if err != nil {
			return err
		}
		if b.graph != nil {
			g.inherit(b.graph)
		}
		b.graph = g
	}
	if _, err := b.compileAll(ctx); err != nil {
		return err
	}
	b.ready = true
	return nil
}

// Build makes the program that the request asks for. It returns a *Refusal when
// "go build" has to, and the context's error when it was cancelled. Either way
// the output is untouched and nothing is left beside it.
func (b *Builder) Build(ctx context.Context, r gobuild.Request, mode Mode) (Result, error) {
	g := b.graph
	if g == nil || !b.ready || g.outdated || !g.request.Same(r) {
		return Result{}, refuse("not ready")
	}
	if err := g.look(); err != nil {
		return Result{}, err
	}
	compiled, err := b.compileAll(ctx)
	if err != nil {
		return Result{}, err
	}
	if again, err := g.edited(); err != nil || len(again) > 0 {
		return Result{}, &Refusal{"edited meanwhile", err}
	}
	output, err := r.Output()
	if err != nil {
		return Result{}, err
	}
	return Result{compiled}, b.link(ctx, output, mode)
}

// Symbols links the program of the latest Build once more, with what debuggers
// read, into a file. Both have the same build id. It returns a *Refusal if
// packages have been compiled since.
func (b *Builder) Symbols(ctx context.Context, file string) error {
	if b.graph == nil || !b.ready || b.linked == "" {
		return refuse("not ready")
	}
	if _, id := b.inputs(); id != b.linked {
		return refuse("edited meanwhile")
	}
	return b.link(ctx, file, Debugging)
}

// compileAll compiles what has to be, each package after those that it imports.
func (b *Builder) compileAll(ctx context.Context) ([]string, error) {
	g := b.graph
	deps := make([][]int, len(g.packages))
	for i, p := range g.packages {
		for _, path := range p.imports {
			deps[i] = append(deps[i], g.index[path])
		}
	}
	compiled := make([]bool, len(g.packages))
	err := inOrder(ctx, deps, runtime.GOMAXPROCS(0), func(ctx context.Context, i int) error {
		p := g.packages[i]
		if g.current(p) {
			return nil
		}
		compiled[i] = true
		return b.compile(ctx, p)
	})
	var paths []string
	for i, p := range g.packages {
		if compiled[i] {
			paths = append(paths, p.path)
		}
	}
	return paths, err
}

// place is the directory of a compiled package.
func (b *Builder) place(p *pkg) string {
	sum := sha256.Sum256([]byte(p.path))
	return filepath.Join(b.Dir, fmt.Sprintf("%x", sum[:8]))
}

// export is where a package's export data lies, and object its object.
func (b *Builder) export(p *pkg) string { return filepath.Join(b.place(p), "export") }
func (b *Builder) object(p *pkg) string { return filepath.Join(b.place(p), "object") }

// Close removes the compiled packages.
func (b *Builder) Close() error {
	b.graph, b.ready = nil, false
	return os.RemoveAll(b.Dir)
}

// failed turns a tool's failure into a refusal, unless it was cancelled.
func failed(ctx context.Context, reason string, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if _, ok := errors.AsType[*Refusal](err); ok {
		return err
	}
	return &Refusal{reason, err}
}
