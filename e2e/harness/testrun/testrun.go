// Package testrun reads what "go test -json" prints and tells a person what
// came of it.
package testrun

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// A Run sums up any number of "go test" commands, which may run side by side.
type Run struct {
	Out  io.Writer
	Root string // what printed paths are relative to

	mu             sync.Mutex // guards what follows, and Out
	Passed, Failed int
	Skipped        []Skip
	Empty          []string // packages in which no test ran
}

// A command is one of which the output is read.
type command struct {
	*Run
	module   string
	packages map[string]*pkg
	builds   map[string]*strings.Builder
	failed   bool
}

// A Skip is something that was not tested, and why.
type Skip struct{ Name, Why string }

// A pkg is what is known of a package while its tests run.
type pkg struct {
	tests  map[string]*test
	output strings.Builder // of no test in particular
	ran    bool
}

type test struct {
	output   strings.Builder
	result   string
	children int
	failed   int // children that failed
}

// An event is one line of "go test -json" (see "go doc test2json").
type event struct {
	Action      string
	Package     string
	Test        string
	Elapsed     float64
	Output      string
	ImportPath  string // of build-output and build-fail
	FailedBuild string
}

// Read reads one command's output to its end, and reports whether a package
// failed. The command ran in module, which is relative to Root. Read may be called
// at the same time for another one.
func (r *Run) Read(module string, in io.Reader) (failed bool, err error) {
	c := &command{Run: r, module: module, packages: map[string]*pkg{}, builds: map[string]*strings.Builder{}}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if strings.TrimSpace(line) != "" {
			c.line(line)
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return c.failed, err
		}
	}
	for name := range c.packages { // their end was never told
		c.failed = true
		r.Fail(name + "\tended without a result")
	}
	return c.failed, nil
}

func (c *command) line(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var e event
	if json.Unmarshal([]byte(line), &e) != nil {
		fmt.Fprint(c.Out, line) // the go command's own words
		return
	}
	c.take(e)
}

func (c *command) take(e event) {
	if e.Action == "build-output" {
		if c.builds[e.ImportPath] == nil {
			c.builds[e.ImportPath] = &strings.Builder{}
		}
		c.builds[e.ImportPath].WriteString(c.clickable(e.Output, c.module))
		return
	}
	if e.Package == "" {
		return
	}
	p := c.packages[e.Package]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		c.packages[e.Package] = p
	}
	switch {
	case e.Action == "output" && e.Test == "":
		p.output.WriteString(c.clickable(e.Output, ""))
	case e.Action == "output":
		p.test(e.Test).output.WriteString(c.clickable(e.Output, ""))
	case e.Action != "pass" && e.Action != "fail" && e.Action != "skip":
	case e.Test != "":
		p.ran = true
		c.endTest(p, e)
	default:
		if b := c.builds[e.FailedBuild]; b != nil {
			fmt.Fprint(c.Out, b.String())
		}
		c.failed = c.failed || e.Action == "fail"
		c.endPackage(p, e)
		delete(c.packages, e.Package)
	}
}

// position matches the start of a line about a place in the sources.
var position = regexp.MustCompile(`^(\s*(?:vet: )?)([^\s:][^:]*\.go)(:\d+:)`)

// clickable rewrites a line's path so that a terminal opened at Root, where make
// runs, can follow it. The compiler's paths are relative to a module, and those
// of tests absolute, with -fullpath; what else a test prints has no module.
func (r *Run) clickable(line, module string) string {
	m := position.FindStringSubmatch(line)
	if m == nil {
		return line
	}
	path := m[2]
	switch {
	case filepath.IsAbs(path):
	case module == "":
		return line
	default:
		path = filepath.Join(r.Root, module, path)
	}
	rel, err := filepath.Rel(r.Root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return line
	}
	return m[1] + rel + line[len(m[1])+len(m[2]):]
}

func (p *pkg) test(name string) *test {
	t := p.tests[name]
	if t == nil {
		t = &test{}
		p.tests[name] = t
		if parent := parentOf(name); parent != "" {
			p.test(parent).children++
		}
	}
	return t
}

func parentOf(name string) string {
	i := strings.LastIndexByte(name, '/')
	return name[:max(i, 0)]
}

// endTest counts a test, but not one that only consists of others.
func (r *Run) endTest(p *pkg, e event) {
	t := p.test(e.Test)
	t.result = e.Action
	switch e.Action {
	case "pass":
		if t.children == 0 {
			r.Passed++
		}
	case "skip":
		r.Skipped = append(r.Skipped, Skip{e.Package + " " + e.Test, reason(t.output.String())})
	case "fail":
		if parent := parentOf(e.Test); parent != "" {
			p.test(parent).failed++
		}
		if t.failed == 0 {
			r.Failed++
		}
	}
}

func (r *Run) endPackage(p *pkg, e event) {
	switch e.Action {
	case "fail":
		anyFailed := false
		for _, name := range sortedKeys(p.tests) {
			t := p.tests[name]
			if t.result == "fail" || t.result == "" { // the latter: it was cut short
				anyFailed = anyFailed || t.result == "fail"
				fmt.Fprint(r.Out, t.output.String())
			}
		}
		if !anyFailed { // it did not build, or died outside of a test
			r.Failed++
		}
		fmt.Fprint(r.Out, p.output.String())
		if !strings.Contains(p.output.String(), "FAIL\t") {
			fmt.Fprintf(r.Out, "FAIL\t%s\t%.3fs\n", e.Package, e.Elapsed)
		}
	case "skip":
		r.Empty = append(r.Empty, e.Package)
		fmt.Fprintf(r.Out, "?   \t%s\t[no test files]\n", e.Package)
	case "pass":
		note := ""
		if !p.ran {
			r.Empty = append(r.Empty, e.Package)
			note = " [no tests to run]"
		} else if strings.Contains(p.output.String(), "(cached)") {
			note = " (cached)"
		}
		fmt.Fprintf(r.Out, "ok  \t%s\t%.3fs%s\n", e.Package, e.Elapsed, note)
		r.reports(p)
	}
}

// report starts the lines of a passing test that are worth seeing.
const report = "report: "

// reports prints what passing tests measured.
func (r *Run) reports(p *pkg) {
	for _, name := range sortedKeys(p.tests) {
		for line := range strings.Lines(p.tests[name].output.String()) {
			if _, text, ok := strings.Cut(line, report); ok {
				fmt.Fprintf(r.Out, "    \t%s: %s", name, text)
			}
		}
	}
}

func sortedKeys(m map[string]*test) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// reason finds what a test said when it was skipped: "file.go:12: why".
func reason(output string) string {
	why := "no reason given"
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if place, text, ok := strings.Cut(line, ": "); ok && strings.Contains(place, ".go:") {
			why = text
		}
	}
	return why
}

// Skip notes something that was not tested at all.
func (r *Run) Skip(name, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Skipped = append(r.Skipped, Skip{name, why})
}

// Fail notes a failure outside of any test.
func (r *Run) Fail(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Failed++
	fmt.Fprintf(r.Out, "FAIL\t%s\n", why)
}

// Summary prints what was skipped, by reason, which packages have no tests,
// and the count.
func (r *Run) Summary() {
	r.mu.Lock()
	defer r.mu.Unlock()
	byWhy := map[string][]string{}
	var whys []string
	for _, s := range r.Skipped {
		if byWhy[s.Why] == nil {
			whys = append(whys, s.Why)
		}
		byWhy[s.Why] = append(byWhy[s.Why], s.Name)
	}
	for _, why := range whys {
		fmt.Fprintf(r.Out, "\nskipped: %s\n", why)
		for _, name := range byWhy[why] {
			fmt.Fprintf(r.Out, "  %s\n", name)
		}
	}
	if len(r.Empty) > 0 {
		fmt.Fprintf(r.Out, "\nno tests in:\n")
		for _, name := range r.Empty {
			fmt.Fprintf(r.Out, "  %s\n", name)
		}
	}
	fmt.Fprintf(r.Out, "\n%d passed, %d failed, %d skipped\n", r.Passed, r.Failed, len(r.Skipped))
}
