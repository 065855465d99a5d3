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
)

// compile compiles a package against those that it imports, and stamps it.
func (b *Builder) compile(ctx context.Context, p *pkg) error {
	g := b.graph
	input, err := p.read()
	if err != nil {
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
	if err := g.tools.run(ctx, b.Starter, "compile", append(args, p.files...), nil); err != nil {
		_ = os.Remove(export)
		_ = os.Remove(object)
		return failed(ctx, "compile error", err)
	}
	sum, err := exportdata.Stamp(export, object)
	if err != nil {
		_ = os.Remove(export)
		_ = os.Remove(object)
		return &Refusal{"unknown export data", err}
	}
	p.compiled = false
	if err := errors.Join(os.Rename(export, b.export(p)), os.Rename(object, b.object(p))); err != nil {
		return &Refusal{"no room", err}
	}
	p.compiled, p.edited, p.input, p.sum, p.against = true, false, input, sum, against
	return nil
}

// read sums what a package is compiled from.
func (p *pkg) read() ([32]byte, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n", p.command())
	for _, name := range slices.Concat(p.files, p.embedded) {
		text, err := os.ReadFile(name)
		if err != nil {
			return [32]byte{}, err
		}
		fmt.Fprintf(h, "%s %d\n%s", name, len(text), text)
	}
	return [32]byte(h.Sum(nil)), nil
}
