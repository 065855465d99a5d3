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
)

// A Run sums up any number of "go test" commands.
type Run struct {
	Out io.Writer

	Root   string // what printed paths are relative to
	Module string // of the command that is read, relative to Root

	Passed, Failed int
	Skipped        []Skip
	Empty          []string // packages in which no test ran
	packages       map[string]*pkg
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

// Read reads one command's output to its end.
func (r *Run) Read(in io.Reader) error {
	r.packages = map[string]*pkg{}
	builds := map[string]*strings.Builder{}
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if strings.TrimSpace(line) != "" {
			var e event
			if json.Unmarshal([]byte(line), &e) != nil {
				fmt.Fprint(r.Out, line) // the go command's own words
			} else {
				r.take(e, builds)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	for name := range r.packages { // their end was never told
		r.Failed++
		fmt.Fprintf(r.Out, "FAIL\t%s\tended without a result\n", name)
	}
	return nil
}

func (r *Run) take(e event, builds map[string]*strings.Builder) {
	if e.Action == "build-output" {
		if builds[e.ImportPath] == nil {
			builds[e.ImportPath] = &strings.Builder{}
		}
		builds[e.ImportPath].WriteString(r.clickable(e.Output, r.Module))
		return
	}
	if e.Package == "" {
		return
	}
	p := r.packages[e.Package]
	if p == nil {
		p = &pkg{tests: map[string]*test{}}
		r.packages[e.Package] = p
	}
	switch {
	case e.Action == "output" && e.Test == "":
		p.output.WriteString(r.clickable(e.Output, ""))
	case e.Action == "output":
		p.test(e.Test).output.WriteString(r.clickable(e.Output, ""))
	case e.Action != "pass" && e.Action != "fail" && e.Action != "skip":
	case e.Test != "":
		p.ran = true
		r.endTest(p, e)
	default:
		if b := builds[e.FailedBuild]; b != nil {
			fmt.Fprint(r.Out, b.String())
		}
		r.endPackage(p, e)
		delete(r.packages, e.Package)
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
func (r *Run) Skip(name, why string) { r.Skipped = append(r.Skipped, Skip{name, why}) }

// Fail notes a failure outside of any test.
func (r *Run) Fail(why string) {
	r.Failed++
	fmt.Fprintf(r.Out, "FAIL\t%s\n", why)
}

// Summary prints what was skipped, by reason, which packages have no tests,
// and the count.
func (r *Run) Summary() {
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
