package hotbuild

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"devloop/internal/gobuild"
	"devloop/internal/process"
)

// A listed package is what "go list" says of one.
type listed struct {
	ImportPath, Name, Dir, Export string
	Standard                      bool
	Module                        *struct {
		Main    bool
		Replace *struct{ Version string }
	}
	GoFiles, IgnoredGoFiles, EmbedFiles []string
	CgoFiles, SFiles, SysoFiles         []string
	CFiles, CXXFiles, MFiles, FFiles    []string
	SwigFiles, SwigCXXFiles             []string
}

// own reports whether people edit the package here: it is of the main module, of
// one of the workspace, or of one that replaces another by a directory.
func (p *listed) own() bool {
	return !p.Standard && p.Module != nil && (p.Module.Main || p.Module.Replace != nil && p.Module.Replace.Version == "")
}

// foreign says what in a package the go command compiles with other programs.
func (p *listed) foreign() string {
	switch {
	case len(p.CgoFiles) > 0:
		return "cgo"
	case len(p.SFiles) > 0:
		return "assembly"
	case len(p.SysoFiles)+len(p.CFiles)+len(p.CXXFiles)+len(p.MFiles)+len(p.FFiles)+len(p.SwigFiles)+len(p.SwigCXXFiles) > 0:
		return "C"
	}
	return ""
}

// tick is more than the clock that files are stamped by may stand still (inode(7)).
const tick = 20 * time.Millisecond

// learn asks the go command what a build consists of.
func learn(ctx context.Context, starter *process.Starter, r gobuild.Request) (*graph, error) {
	if r.Has("toolexec") { // it decides what the tools do
		return nil, refuse("toolexec")
	}
	// What was written in this tick cannot be told from what is written while the
	// go command looks.
	select {
	case <-time.After(tick):
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	began := time.Now().Add(-tick)
	tools, err := findTools(ctx, starter, r)
	if err != nil {
		return nil, failed(ctx, "go env failed", err)
	}
	text, err := gobuild.Commands(ctx, starter, r)
	if err != nil {
		return nil, failed(ctx, "go build -n failed", err)
	}
	said, err := parseScript(text, tools.dir)
	if err != nil {
		return nil, &Refusal{"unknown commands", err}
	}
	packages, err := list(ctx, starter, r)
	if err != nil {
		return nil, failed(ctx, "go list failed", err)
	}
	g := &graph{request: r, tools: tools, index: make(map[string]int), owners: make(map[string]owner)}
	if err := g.assemble(said, packages); err != nil {
		return nil, err
	}
	if g.set, err = gobuild.Inputs(ctx, starter, r.Directory(), r); err != nil {
		return nil, failed(ctx, "go list failed", err)
	}
	g.set.Modules = nil
	return g, g.read(packages, began)
}

func list(ctx context.Context, starter *process.Starter, r gobuild.Request) ([]*listed, error) {
	const fields = "ImportPath,Name,Dir,Export,Standard,Module,GoFiles,IgnoredGoFiles,EmbedFiles," +
		"CgoFiles,SFiles,SysoFiles,CFiles,CXXFiles,MFiles,FFiles,SwigFiles,SwigCXXFiles"
	var packages []*listed
	err := gobuild.List(ctx, starter, r, []string{"-deps", "-export", "-json=" + fields}, func(d *json.Decoder) error {
		p := new(listed)
		packages = append(packages, p)
		return d.Decode(p)
	})
	return packages, err
}

// assemble puts together what the go command has said.
func (g *graph) assemble(said script, packages []*listed) error {
	if len(said.links) != 1 {
		return refuse("not one program")
	}
	link := said.links[0]
	config, ok := said.files[value(link.args, "-importcfg")]
	if !ok {
		return unknown("the link has no configuration")
	}
	archives, linked, others := importConfig(config)
	byPath := make(map[string]*listed, len(packages))
	for _, p := range packages {
		byPath[p.ImportPath] = p
		if !p.own() {
			continue
		}
		if reason := p.foreign(); reason != "" {
			return refuse(reason)
		}
		compile, ok := said.compiles[path.Dir(archives[p.ImportPath])]
		if !ok {
			return unknown("nothing compiles %s", p.ImportPath)
		}
		if err := g.add(p, compile, said.files, byPath); err != nil {
			return err
		}
	}
	last := len(g.packages) - 1 // go list -deps has each package behind what it imports
	if last < 0 || g.packages[last].name != "main" || archives[g.packages[last].path] != link.args[len(link.args)-1] {
		return refuse("not one program")
	}
	var err error
	if g.link, err = newLink(link, linked, others); err != nil {
		return err
	}
	for _, path := range linked {
		if _, own := g.index[path]; own {
			continue
		}
		if byPath[path] == nil || byPath[path].Export == "" {
			return unknown("the go command does not say where %s is", path)
		}
		g.link.archives[path] = byPath[path].Export
	}
	return nil
}

// add adds a package to the graph, behind what it imports.
func (g *graph) add(l *listed, compile []string, files map[string]string, byPath map[string]*listed) error {
	p := &pkg{path: l.ImportPath, name: l.Name, dir: l.Dir}
	n := len(compile) - len(l.GoFiles)
	if n < 0 {
		return unknown("%s is not compiled from its files", l.ImportPath)
	}
	for i, name := range l.GoFiles {
		if path.Base(compile[n+i]) != name {
			return unknown("the go command compiles %s instead of %s", compile[n+i], name)
		}
		p.sources = append(p.sources, filepath.Join(l.Dir, name))
	}
	outputs := func(name string) bool {
		return slices.Contains([]string{"-o", "-importcfg", "-embedcfg", "-buildid"}, name)
	}
	flags, err := keep(compile[:n], compilerFlags(), outputs)
	if err != nil {
		return err
	}
	p.flags = steady(flags)
	config, ok := files[value(compile[:n], "-importcfg")]
	if !ok {
		return unknown("%s is compiled without a configuration", l.ImportPath)
	}
	if embeds := value(compile[:n], "-embedcfg"); embeds != "" {
		if p.embeds, ok = files[embeds]; !ok {
			return unknown("what %s embeds is not written", l.ImportPath)
		}
	}
	_, imports, others := importConfig(config)
	p.config = others
	for _, path := range imports {
		if _, own := g.index[path]; own {
			p.imports = append(p.imports, path)
			continue
		}
		if byPath[path] == nil || byPath[path].Export == "" {
			return unknown("the go command does not say where %s is", path)
		}
		p.config = append(p.config, "packagefile "+path+"="+byPath[path].Export)
	}
	g.index[p.path] = len(g.packages)
	g.packages = append(g.packages, p)
	return nil
}

// steady returns a compiler's flags without what differs from one time to the
// next: the number of a scratch directory, in which there is none of our files,
// and how many processors were free.
func steady(flags []string) []string {
	var out []string
	for i, flag := range flags {
		switch {
		case strings.HasPrefix(flag, "-c="):
			flag = fmt.Sprintf("-c=%d", min(4, runtime.GOMAXPROCS(0)))
		case i > 0 && flags[i-1] == "-trimpath":
			if _, rest, ok := strings.Cut(flag, "=>"); ok && strings.HasPrefix(flag, "$WORK/") {
				flag = "$WORK=>" + rest
			}
		}
		out = append(out, flag)
	}
	return out
}

// unknown refuses what the go command says.
func unknown(format string, args ...any) error {
	return &Refusal{"unknown commands", fmt.Errorf(format, args...)}
}

// Flags that are known, and whether each has a value of its own word. What is not
// here could change what a package or a program consists of.

// compilerFlags are those of cmd/compile/internal/base, flag.go.
func compilerFlags() map[string]bool {
	return map[string]bool{
		"-o": true, "-importcfg": true, "-embedcfg": true, "-buildid": true, "-trimpath": true, "-p": true, "-goversion": true,
		"-lang": false, "-complete": false, "-c": false, "-N": false, "-l": false, "-nolocalimports": false, "-pack": false,
		"-dwarf": false, "-dwarflocationlists": false, "-e": false, "-shared": false,
	}
}

// linkerFlags are those of cmd/link/internal/ld, main.go.
func linkerFlags() map[string]bool {
	return map[string]bool{
		"-o": true, "-importcfg": true, "-buildid": false, "-buildmode": false, "-X": true, "-extld": false,
		"-s": false, "-w": false, "-compressdwarf": false,
	}
}

// keep returns arguments but for those to be set anew. A flag that is not known
// is refused.
func keep(args []string, known map[string]bool, drop func(name string) bool) ([]string, error) {
	var kept []string
	for i := 0; i < len(args); i++ {
		name, _, joined := strings.Cut(args[i], "=")
		name = "-" + strings.TrimLeft(name, "-")
		apart, ok := known[name]
		if !ok || !strings.HasPrefix(args[i], "-") {
			return nil, refuse("flag " + name)
		}
		words := args[i : i+1]
		if apart && !joined {
			if i+1 == len(args) {
				return nil, refuse("flag " + name)
			}
			words = args[i : i+2]
			i++
		}
		if !drop(name) {
			kept = append(kept, words...)
		}
	}
	return kept, nil
}
