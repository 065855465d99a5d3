package hotbuild

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"devloop/internal/exportdata"
	"devloop/internal/gobuild"
	"devloop/internal/source"
)

// A graph is what a build consists of: the packages that people edit, what they
// import of each other, how each is compiled and how the program is linked.
type graph struct {
	request  gobuild.Request
	tools    tools
	packages []*pkg // each behind what it imports; the last is the program
	index    map[string]int
	link     link

	set    source.Set
	tree   source.Tree      // the files as the latest build found them
	recent []string         // files that were written in the last tick before that
	owners map[string]owner // what each file is, by its absolute path

	outdated bool // an edit has changed what the build consists of
}

// An owner says what a file is to a build.
type owner struct {
	packages []int // that are compiled from it
	embedded bool
	header   header // of a Go file
}

// A pkg is a package that people edit.
type pkg struct {
	path, name, dir string
	flags           []string // for the compiler
	sources         []string // Go files, absolute
	config          []string // lines for the compiler that never change: packages of others
	embeds          string   // what go:embed directives find
	embedded        []string // the files among it, absolute
	imports         []string // packages of the graph

	edited bool // since it was compiled

	// What follows is of the latest time that it was compiled.
	compiled bool
	input    [32]byte                  // what it was compiled from
	sum      exportdata.Sum            // what others see of it
	against  map[string]exportdata.Sum // what it saw of those that it imports
}

// read notes the files as they are. It fails if one of them may have changed
// after the go command was asked.
func (g *graph) read(packages []*listed, began time.Time) error {
	for _, l := range packages {
		i, own := g.index[l.ImportPath]
		if !own {
			continue
		}
		for _, name := range slices.Concat(l.GoFiles, l.IgnoredGoFiles) {
			file := filepath.Join(l.Dir, name)
			text, err := os.ReadFile(file)
			if err != nil {
				return &Refusal{"unreadable file", err}
			}
			o := owner{header: headerOf(text)}
			if slices.Contains(l.GoFiles, name) {
				o.packages = []int{i}
			}
			g.owners[file] = o
		}
		for _, name := range l.EmbedFiles {
			file := filepath.Join(l.Dir, filepath.FromSlash(name))
			g.packages[i].embedded = append(g.packages[i].embedded, file)
			o := g.owners[file]
			o.embedded = true
			o.packages = append(slices.Clone(o.packages), i)
			g.owners[file] = o
		}
	}
	tree, err := g.set.Scan()
	if err != nil {
		return err
	}
	g.tree = tree
	for _, c := range tree.Since(nil) {
		if c.At.After(began) {
			return refuse("edited meanwhile")
		}
		if filepath.Ext(c.Path) == ".go" {
			if _, ok := g.owners[g.set.Path(c.Path)]; !ok && g.inOwn(g.set.Path(c.Path)) {
				return &Refusal{"unknown files", fmt.Errorf("the go command does not say what %s is for", c.Path)}
			}
		}
	}
	return nil
}

// inOwn reports whether a file lies in the directory of one of the packages.
func (g *graph) inOwn(file string) bool {
	return slices.ContainsFunc(g.packages, func(p *pkg) bool { return p.dir == filepath.Dir(file) })
}

// inherit takes over what an earlier graph has compiled of the same.
func (g *graph) inherit(before *graph) {
	for _, p := range g.packages {
		k, ok := before.index[p.path]
		if !ok {
			continue
		}
		if old := before.packages[k]; old.compiled && old.command() == p.command() {
			p.compiled, p.input, p.sum, p.against = true, old.input, old.sum, old.against
			p.compare()
		}
	}
}

// compare notes whether a package consists of what it was compiled from. A file
// may be written as it was, or be mended.
func (p *pkg) compare() {
	input, err := p.read()
	p.edited = err != nil || input != p.input
}

// command is how a package is compiled, but for the packages of the graph.
func (p *pkg) command() string {
	return fmt.Sprintf("%q %q %q %q %q", p.flags, p.sources, p.config, p.embeds, p.imports)
}

// look notes which packages have been edited. It refuses an edit that changes
// more than the contents of known files.
func (g *graph) look() error {
	now := time.Now()
	tree, err := g.set.Scan()
	if err != nil {
		return err
	}
	changes := tree.Since(g.tree)
	for _, name := range g.recent {
		changes = append(changes, source.Change{Path: name, At: now})
	}
	touched, reason := g.judge(changes)
	if reason != "" {
		g.outdated = true
		return refuse(reason)
	}
	for _, i := range touched {
		g.packages[i].compare()
	}
	g.tree, g.recent = tree, nil
	for _, c := range tree.Since(nil) {
		if c.At.After(now.Add(-tick)) {
			g.recent = append(g.recent, c.Path)
		}
	}
	return nil
}

// edited returns what has been edited since look.
func (g *graph) edited() ([]source.Change, error) {
	tree, err := g.set.Scan()
	return tree.Since(g.tree), err
}

// current reports whether a package is compiled from what it consists of now,
// against what it would see now of those that it imports.
func (g *graph) current(p *pkg) bool {
	if !p.compiled || p.edited {
		return false
	}
	for _, path := range p.imports {
		if p.against[path] != g.packages[g.index[path]].sum {
			return false
		}
	}
	return true
}
