package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"gotest.tools/gotestsum/testjson"

	"e2e/harness/janitor"
)

// A report shows what the go command says as gotestsum does. Gotestsum knows
// nothing of what was not run at all, of reasons, and of what passing tests
// measured: that is here.
type report struct {
	out  io.Writer
	root string

	format    testjson.EventFormatter
	measured  map[string][]string // by package
	execution *testjson.Execution

	mu    sync.Mutex // guards out while tests run, and what follows
	skips []skip
	fails []string
}

// A skip is something that was not tested, and why.
type skip struct {
	name, why string
	pkg       string // of a test
}

// newReport returns a report to out. Partial is for runs of some tests, in which
// most packages have none.
func newReport(out io.Writer, root string, partial bool) *report {
	format := cmp.Or(os.Getenv("GOTESTSUM_FORMAT"), "pkgname")
	return &report{
		out: out, root: root, measured: map[string][]string{}, execution: &testjson.Execution{},
		format: testjson.NewEventFormatter(out, format, testjson.FormatOptions{HideEmptyPackages: partial}),
	}
}

// skip notes something that is not tested at all.
func (r *report) skip(name, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skips = append(r.skips, skip{name: name, why: why})
}

// fail notes a failure outside of any test.
func (r *report) fail(why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fails = append(r.fails, why)
}

// skipIgnored notes the test files of a package that are for other systems.
func (r *report) skipIgnored(p pkg) {
	for _, name := range p.ignored {
		if strings.HasSuffix(name, "_test.go") {
			r.skip(p.path+" "+name, "its build constraint is not met here")
		}
	}
}

// list lists the packages of a module. If it cannot, that is a failure.
func (r *report) list(ctx context.Context, module string) []pkg {
	pkgs, err := listPackages(ctx, r.root, module)
	if err != nil && ctx.Err() == nil {
		r.fail(fmt.Sprintf("list the packages of %s: %v", module, err))
	}
	return pkgs
}

// A stream takes what go commands print, which may run side by side.
type stream struct {
	events, errors *lineWriter
	done           chan error
}

// A lineWriter writes what one command writes at once without another's in between.
type lineWriter struct {
	mu  sync.Mutex
	out *io.PipeWriter
}

func (w *lineWriter) Write(b []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.out.Write(b)
}

// open starts to report a stream, which must be closed.
func (r *report) open() (*stream, error) {
	if r.format == nil {
		return nil, fmt.Errorf("gotestsum knows no format %q: unset GOTESTSUM_FORMAT", os.Getenv("GOTESTSUM_FORMAT"))
	}
	events, eventsIn := io.Pipe()
	errors, errorsIn := io.Pipe()
	s := &stream{&lineWriter{out: eventsIn}, &lineWriter{out: errorsIn}, make(chan error, 1)}
	go func() {
		execution, err := testjson.ScanTestOutput(testjson.ScanConfig{
			Stdout: events, Stderr: errors, Handler: r, IgnoreNonJSONOutputLines: true,
			Stop: func() { _, _ = events.Close(), errors.Close() }, // writers get an error
		})
		r.execution = execution
		s.done <- err
	}()
	return s, nil
}

// close ends the stream and waits until all of it is reported.
func (s *stream) close() error {
	_, _ = s.events.out.Close(), s.errors.out.Close()
	return <-s.done
}

// measurement starts the lines of a passing test that are worth seeing.
const measurement = "report: "

// Event implements testjson.EventHandler.
func (r *report) Event(e testjson.TestEvent, execution *testjson.Execution) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, text, ok := strings.Cut(e.Output, measurement); ok && e.Test != "" {
		r.measured[e.Package] = append(r.measured[e.Package], e.Test+": "+text)
	}
	if err := r.format.Format(e, execution); err != nil || e.Test != "" || !e.Action.IsTerminal() {
		return err
	}
	for _, line := range r.measured[e.Package] {
		fmt.Fprint(r.out, "     "+line)
	}
	return nil
}

// Err implements testjson.EventHandler.
func (r *report) Err(line string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, err := fmt.Fprintln(r.out, line)
	return err
}

// summary prints what was skipped, by reason, what failed, and the count. Its
// error says that something failed.
func (r *report) summary() error {
	e := r.execution
	skips := r.skips
	for _, t := range e.Skipped() {
		skips = append(skips, skip{t.Package + " " + t.Test.Name(), reason(e.OutputLines(t)), t.Package})
	}
	for _, line := range grouped(skips) {
		fmt.Fprintln(r.out, line)
	}
	testjson.PrintSummary(r.out, e, testjson.SummarizeFailed|testjson.SummarizeErrors|testjson.SummarizeOutput)
	for _, why := range r.fails {
		fmt.Fprintf(r.out, "FAIL  %s\n", why)
	}
	passed := 0
	for _, name := range e.Packages() {
		passed += len(e.Package(name).Passed)
	}
	failed := len(e.Failed()) + len(r.fails)
	fmt.Fprintf(r.out, "\n%d passed, %d failed, %d skipped\n", passed, failed, len(skips))
	if failed > 0 {
		return janitor.ErrTold
	}
	return nil
}

// grouped returns the lines that list skips by reason. Many tests of a package with
// one reason are a number.
func grouped(skips []skip) []string {
	const many = 3
	byWhy := map[string][]skip{}
	alike := map[[2]string]int{} // tests, by package and reason
	var whys []string
	for _, s := range skips {
		if byWhy[s.why] == nil {
			whys = append(whys, s.why)
		}
		byWhy[s.why] = append(byWhy[s.why], s)
		alike[[2]string{s.pkg, s.why}]++
	}
	var lines []string
	for _, why := range whys {
		lines = append(lines, "", "skipped: "+why)
		for _, s := range byWhy[why] {
			line := "  " + s.name
			if n := alike[[2]string{s.pkg, why}]; s.pkg != "" && n > many {
				line = fmt.Sprintf("  %s: %d tests", s.pkg, n)
			}
			if line != lines[len(lines)-1] {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// reason finds what a test said when it was skipped: "file.go:12: why".
func reason(lines []string) string {
	why := "no reason given"
	for _, line := range lines {
		if place, text, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && strings.Contains(place, ".go:") {
			why = text
		}
	}
	return why
}
