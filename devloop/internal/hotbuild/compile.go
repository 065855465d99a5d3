package hotbuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"devloop/internal/exportdata"
	"devloop/internal/source"
)

// compile compiles a package against those that it imports, and stamps it.
func (b *Builder) compile(ctx context.Context, p *pkg) error {
	g := b.graph
	before, errScan := p.files().Scan()
	input, err := p.read()
	if err = errors.Join(err, errScan); err != nil {
		return &Refusal{"unreadable file", err}
	}
	place := b.place(p)
	if err := os.MkdirAll(place, 0o700); err != nil {
		return &Refusal{"no room", err}
	}
	config := slices.Clone(p.config)
	against := make(map[string]exportdata.Sum)
	for _, path := range p.imports {
		imported := g.packages[g.index[path]]
		config = append(config, "packagefile "+path+"="+b.export(imported))
		against[path] = imported.sum
	}
	importcfg, embedcfg := filepath.Join(place, "importcfg"), filepath.Join(place, "embedcfg")
	export, object := filepath.Join(place, "export.new"), filepath.Join(place, "object.new")
	args := slices.Concat(p.flags, []string{"-o", export, "-linkobj", object, "-importcfg", importcfg})
	err = os.WriteFile(importcfg, []byte(strings.Join(config, "\n")+"\n"), 0o600)
	if p.embeds != "" {
		args = append(args, "-embedcfg", embedcfg)
		err = errors.Join(err, os.WriteFile(embedcfg, []byte(p.embeds), 0o600))
	}
	if err != nil {
		return &Refusal{"no room", err}
	}
	// Both are gone if they have not been put in place.
	defer func() { _, _ = os.Remove(export), os.Remove(object) }()
	if err := g.tools.run(ctx, b.Starter, "compile", append(args, p.sources...), nil); err != nil {
		return failed(ctx, "compile error", err)
	}
	// What the compiler has read may be another text than was summed, if someone
	// wrote the file and wrote it back.
	if after, err := p.files().Scan(); err != nil || len(after.Since(before)) > 0 {
		return &Refusal{"edited meanwhile", err}
	}
	sum, err := exportdata.Stamp(export, object)
	if err != nil {
		return &Refusal{"unknown export data", err}
	}
	p.compiled = false
	if err := errors.Join(os.Rename(export, b.export(p)), os.Rename(object, b.object(p))); err != nil {
		return &Refusal{"no room", err}
	}
	p.compiled, p.edited, p.input, p.sum, p.against = true, false, input, sum, against
	return nil
}

// files are those that a package is compiled from.
func (p *pkg) files() *source.Set { return &source.Set{Files: slices.Concat(p.sources, p.embedded)} }

// read sums what a package is compiled from.
func (p *pkg) read() ([32]byte, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", p.command())
	for _, name := range p.files().Files {
		text, err := os.ReadFile(name)
		if err != nil {
			return [32]byte{}, err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return [32]byte(h.Sum(nil)), nil
}
