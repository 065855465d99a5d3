package hotbuild

import (
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"devloop/internal/gobuild"
)

// A link is how the program is linked.
type link struct {
	env      []string
	flags    []string
	linked   []string          // import paths, in the go command's order
	archives map[string]string // of those that are not of the graph
	others   []string          // lines for the linker: what the program says of itself
}

func newLink(c command, linked, others []string) (link, error) {
	for _, word := range c.args {
		if strings.HasPrefix(word, ".") { // the go command shortens what begins with the directory's name
			return link{}, unknown("the link has the word %s", word)
		}
	}
	set := func(name string) bool { return slices.Contains([]string{"-o", "-importcfg", "-buildid"}, name) }
	flags, err := keep(c.args[:len(c.args)-1], linkerFlags(), set)
	if err != nil {
		return link{}, err
	}
	if slices.ContainsFunc(others, func(line string) bool { return strings.Contains(line, `build\tvcs.`) }) {
		return link{}, refuse("vcs stamp") // a commit changes it, and no file that is read
	}
	return link{c.env, flags, linked, make(map[string]string), others}, nil
}

// inputs are what the linker reads: where the packages are, and a build id that
// is that of no other program.
func (b *Builder) inputs() (config, id string) {
	g := b.graph
	var lines strings.Builder
	sum := sha256.New()
	fmt.Fprintf(sum, "%q %q\n", g.link.flags, g.link.others)
	for _, path := range g.link.linked {
		file := g.link.archives[path]
		if i, own := g.index[path]; own {
			p := g.packages[i]
			file = b.object(p)
			fmt.Fprintf(sum, "%s %x\n", path, p.input)
		} else {
			fmt.Fprintf(sum, "%s %s\n", path, file)
		}
		fmt.Fprintf(&lines, "packagefile %s=%s\n", path, file)
	}
	for _, line := range g.link.others {
		fmt.Fprintln(&lines, line)
	}
	return lines.String(), fmt.Sprintf("hot/%x", sum.Sum(nil))
}

// link links the program beside the output, then puts it in place.
func (b *Builder) link(ctx context.Context, output string, mode Mode) error {
	g := b.graph
	// As for "go build": a directory, which is gone whatever happens.
	scratch, err := gobuild.Scratch(output)
	if err != nil {
		return &Refusal{"no room", err}
	}
	defer os.RemoveAll(scratch)
	config, id := b.inputs()
	importcfg, fresh := filepath.Join(scratch, "importcfg.link"), filepath.Join(scratch, filepath.Base(output))
	if err := os.WriteFile(importcfg, []byte(config), 0o600); err != nil {
		return &Refusal{"no room", err}
	}
	// A debugger finds what it reads of a program by the build id, which is that of
	// either mode; the go command must not take the program for one of its own.
	args := slices.Concat(g.link.flags, []string{"-o", fresh, "-importcfg", importcfg, "-buildid=" + id})
	if mode == Serving {
		args = append(args, "-s", "-w")
	}
	program := g.packages[len(g.packages)-1]
	if err := g.tools.run(ctx, b.Starter, "link", append(args, b.object(program)), g.link.env); err != nil {
		if strings.Contains(err.Error(), "fingerprint mismatch") {
			b.graph, b.ready = nil, false // none of it can be trusted
			return failed(ctx, Mismatch, err)
		}
		return failed(ctx, "link error", err)
	}
	if err := os.Rename(fresh, output); err != nil {
		return &Refusal{"no room", fmt.Errorf("put the binary in place: %w", err)}
	}
	b.linked = id
	return nil
}
