package air

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"devloop/internal/process"
	"devloop/internal/testkit"
)

// TestMain runs the tests, or stands in for air: this very binary, with its task
// in HELPER.
func TestMain(m *testing.M) {
	switch os.Getenv("HELPER") {
	case "":
		testkit.Main(m)
	case "fail":
		fmt.Println("\x1b[31mcannot read the configuration\x1b[0m")
		fmt.Fprint(os.Stderr, "and that is that")
		os.Exit(3)
	case "run":
		fmt.Println("watching .")
		time.Sleep(time.Hour)
	case "deaf":
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("failed to watch this")
		time.Sleep(time.Hour)
	}
}

// reports collects what a Keeper tells.
type reports struct {
	mu     sync.Mutex
	deaths []death
	said   []string
	died   func(n int)
}

type death struct {
	how  string
	tail []string
	wait time.Duration
}

func (r *reports) WatcherDied(how string, tail []string, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.deaths = append(r.deaths, death{how, tail, wait})
	if r.died != nil {
		r.died(len(r.deaths))
	}
}

func (r *reports) WatcherSaid(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.said = append(r.said, line)
}

func (r *reports) all() ([]death, []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.deaths), slices.Clone(r.said)
}

func keeper(s *process.Starter, helper string, r *reports) *Keeper {
	return &Keeper{
		Starter: s, Command: []string{os.Args[0]}, Dir: ".", Reporter: r,
		Env: append(os.Environ(), "HELPER="+helper, "GORACE=atexit_sleep_ms=0"),
	}
}

// TestBackoff lets air fail ten times, on a clock that stands still while it runs.
func TestBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := process.NewStarter()
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		r := &reports{died: func(n int) {
			if n == 10 {
				cancel()
			}
		}}
		began := time.Now()
		keeper(s, "fail", r).Run(ctx)
		deaths, _ := r.all()
		var total time.Duration
		for i, d := range deaths {
			want := min(50*time.Millisecond<<i, 5*time.Second)
			if d.wait != want || d.how != "exit status 3" {
				t.Errorf("death %d: %s, again in %v, want exit status 3, %v", i, d.how, d.wait, want)
			}
			if tail := []string{"cannot read the configuration", "and that is that"}; !slices.Equal(slices.Sorted(slices.Values(d.tail)), slices.Sorted(slices.Values(tail))) {
				t.Errorf("death %d: last words %q, want %q", i, d.tail, tail)
			}
			if i < len(deaths)-1 {
				total += d.wait
			}
		}
		if got := time.Since(began); got != total {
			t.Errorf("ten starts took %v, want the pauses' %v", got, total)
		}
	})
}

func TestNext(t *testing.T) {
	tests := []struct{ before, ran, want time.Duration }{
		{0, 0, 50 * time.Millisecond},
		{50 * time.Millisecond, time.Second, 100 * time.Millisecond},
		{4 * time.Second, 10 * time.Second, 5 * time.Second},
		{5 * time.Second, 0, 5 * time.Second},
		{5 * time.Second, 11 * time.Second, 50 * time.Millisecond},
	}
	for _, tt := range tests {
		if got := next(tt.before, tt.ran); got != tt.want {
			t.Errorf("next(%v, %v) = %v, want %v", tt.before, tt.ran, got, tt.want)
		}
	}
}

// running waits until exactly one stand-in runs, and returns it.
func running(t *testing.T, but int) int {
	t.Helper()
	var pid int
	testkit.Eventually(t, "air", func() bool {
		children := testkit.Children(os.Getpid())
		if len(children) != 1 || children[0].PID == but || children[0].State == "Z" {
			return false
		}
		pid = children[0].PID
		return true
	})
	return pid
}

func TestRun(t *testing.T) {
	testkit.NeedProc(t)
	tests := []struct {
		helper string
		said   string
	}{
		{"run", ""},
		{"deaf", "failed to watch this"},
	}
	for _, tt := range tests {
		t.Run(tt.helper, func(t *testing.T) {
			s := process.NewStarter()
			defer s.Close()
			r := &reports{}
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				keeper(s, tt.helper, r).Run(ctx)
			}()
			first := running(t, 0)
			if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			second := running(t, first)
			deaths, _ := r.all()
			if len(deaths) != 1 || deaths[0].how != "signal: killed" || deaths[0].tail != nil {
				t.Errorf("deaths: %+v, want one, by SIGKILL, without last words", deaths)
			}
			if tt.said != "" {
				testkit.Eventually(t, "a line about a failure", func() bool {
					_, said := r.all()
					return slices.Contains(said, tt.said)
				})
			}
			cancel()
			testkit.Within(t, "the end of Run", done)
			if !testkit.Gone(second) {
				t.Errorf("process %d runs after Run", second)
			}
			if deaths, _ := r.all(); len(deaths) != 1 {
				t.Errorf("deaths after the end: %+v, want the first alone", deaths)
			}
		})
	}
}

func TestNotInstalled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := process.NewStarter()
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		r := &reports{died: func(int) { cancel() }}
		k := keeper(s, "run", r)
		k.Command = []string{filepath.Join(t.TempDir(), "air")}
		k.Run(ctx)
		if deaths, _ := r.all(); len(deaths) != 1 || !strings.Contains(deaths[0].how, k.Command[0]) {
			t.Errorf("deaths: %+v, want one that names %s", deaths, k.Command[0])
		}
	})
}

func TestFilter(t *testing.T) {
	tests := []struct {
		name string
		in   []string // as it is written, in pieces
		said []string
		tail []string
	}{
		{"nothing", nil, nil, nil},
		{
			"all is well",
			[]string{"watching .\nbuilding...\nrunning...\n", "main.go has changed\n"},
			nil,
			[]string{"watching .", "building...", "running...", "main.go has changed"},
		},
		{"a failed build is reported elsewhere", []string{"failed to build, error: exit status 1\n"}, nil, []string{"failed to build, error: exit status 1"}},
		{"a failure to watch", []string{"failed to watch x, error: y\n"}, []string{"failed to watch x, error: y"}, []string{"failed to watch x, error: y"}},
		{"an error", []string{"error: too many open files\n"}, []string{"error: too many open files"}, []string{"error: too many open files"}},
		{"in pieces, coloured", []string{"\x1b[1;", "31merr", "or: x\x1b[", "0m\r\n"}, []string{"error: x"}, []string{"error: x"}},
		{"blank lines", []string{"\n\n \n\x1b[0m\nx\n"}, nil, []string{"x"}},
		{"without an end", []string{"x\nfatal er", "ror"}, nil, []string{"x", "fatal error"}},
		{"a line without end", []string{strings.Repeat("x", maxLine)}, nil, []string{strings.Repeat("x", maxLine)}},
		{
			"only the last lines",
			[]string{strings.Repeat("old\n", 30), "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"},
			nil,
			[]string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var said []string
			f := &filter{report: func(line string) { said = append(said, line) }}
			for _, piece := range tt.in {
				if n, err := f.Write([]byte(piece)); n != len(piece) || err != nil {
					t.Errorf("Write(%q) = %d, %v", piece, n, err)
				}
			}
			if tail := f.tail(); !slices.Equal(said, tt.said) || !slices.Equal(tail, tt.tail) {
				t.Errorf("said %q, last lines %q, want %q and %q", said, tail, tt.said, tt.tail)
			}
		})
	}
}

func TestPlain(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"plain":                         "plain",
		"\x1b[31mred\x1b[0m":            "red",
		"\x1b[1;38;5;200mx":             "x",
		"\x1b[2J\x1b[Hcleared, not me":  "cleared, not me",
		"\x1b[?25lhidden cursor, match": "hidden cursor, match",
		"cut \x1b[3":                    "cut \x1b[3",
		"x\x1b[Kmore\r":                 "xmore",
	} {
		if got := plain(in); got != want {
			t.Errorf("plain(%q) = %q, want %q", in, got, want)
		}
	}
}
