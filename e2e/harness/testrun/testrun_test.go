package testrun

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// TestRead runs the real go command on small packages.
func TestRead(t *testing.T) {
	const head = "package p\n\nimport \"testing\"\n\n"
	tests := []struct {
		name                    string
		files                   map[string]string
		passed, failed, skipped int
		want                    []string // in the output
		silent                  string   // not in the output
	}{
		{
			name:   "passes, and subtests count once",
			files:  map[string]string{"p_test.go": head + `func TestA(t *testing.T) { t.Log("chatter"); t.Run("x", func(*testing.T) {}); t.Run("y", func(*testing.T) {}) }`},
			passed: 2, want: []string{"ok  \tm\t", "2 passed, 0 failed, 0 skipped\n"}, silent: "chatter",
		},
		{
			name:   "a report is shown",
			files:  map[string]string{"p_test.go": head + `func TestA(t *testing.T) { t.Log("report: median 1s") }`},
			passed: 1, want: []string{"TestA: median 1s"},
		},
		{
			name:   "a failure is shown in full and counts once",
			files:  map[string]string{"p_test.go": head + `func TestA(t *testing.T) { t.Run("x", func(t *testing.T) { t.Error("got 1, want 2") }) }`},
			failed: 1, want: []string{"got 1, want 2", "FAIL\tm", "0 passed, 1 failed, 0 skipped\n"},
		},
		{
			name:    "a skip tells why",
			files:   map[string]string{"p_test.go": head + `func TestA(t *testing.T) { t.Skip("needs a moon: there is none") }`},
			skipped: 1, want: []string{"skipped: needs a moon: there is none\n  m TestA\n", "0 passed, 0 failed, 1 skipped\n"},
		},
		{
			name:   "a panic is a failure",
			files:  map[string]string{"p_test.go": head + `func TestA(t *testing.T) { panic("boom") }`},
			failed: 1, want: []string{"boom", "1 failed"},
		},
		{
			name:   "so is a death outside of a test",
			files:  map[string]string{"p_test.go": "package p\n\nimport (\n\"os\"\n\"testing\"\n)\n\nfunc TestMain(m *testing.M) { println(\"no database\"); os.Exit(3) }"},
			failed: 1, want: []string{"no database", "1 failed"},
		},
		{
			name:   "and one that does not compile",
			files:  map[string]string{"p_test.go": head + `func TestA(t *testing.T) { undefined() }`},
			failed: 1, want: []string{"p_test.go:5:28: undefined: undefined", "1 failed"},
		},
		{
			name:  "a package without tests is named",
			files: map[string]string{"p.go": "package p"},
			want:  []string{"?   \tm\t[no test files]", "no tests in:\n  m\n"},
		},
		{
			name:  "and one whose tests do not run",
			files: map[string]string{"p_test.go": head + "type T = testing.T"},
			want:  []string{"[no tests to run]", "no tests in:\n  m\n"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			tt.files["go.mod"] = "module m\n\ngo 1.26\n"
			for name, content := range tt.files {
				if err := os.WriteFile(filepath.Join(dir, name), []byte(content+"\n"), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("go", "test", "-json", "./...")
			cmd.Dir = dir
			out, _ := cmd.CombinedOutput() // failing is what some are for
			var said strings.Builder
			r := Run{Out: &said}
			failed, err := r.Read("", strings.NewReader(string(out)))
			if err != nil || failed != (tt.failed > 0) {
				t.Errorf("Read = %v, %v, want %v", failed, err, tt.failed > 0)
			}
			r.Summary()
			got := fmt.Sprint(r.Passed, r.Failed, len(r.Skipped))
			if want := fmt.Sprint(tt.passed, tt.failed, tt.skipped); got != want {
				t.Errorf("Read: passed, failed, skipped = %s, want %s\n%s", got, want, said.String())
			}
			for _, w := range tt.want {
				if !strings.Contains(said.String(), w) {
					t.Errorf("Read printed %q, want %q in it", said.String(), w)
				}
			}
			if tt.silent != "" && strings.Contains(said.String(), tt.silent) {
				t.Errorf("Read printed %q, want no %q in it", said.String(), tt.silent)
			}
		})
	}
}

// TestReadCut: a command that dies in the middle is no success.
func TestReadCut(t *testing.T) {
	var said strings.Builder
	r := Run{Out: &said}
	failed, err := r.Read("", strings.NewReader(`{"Action":"start","Package":"m"}`+"\n"+`{"Action":"run","Package":"m","Test":"TestA"}`+"\n"))
	if err != nil || !failed || r.Failed != 1 {
		t.Errorf("Read(a cut stream) = %v, %v, %d failed, want true, and 1\n%s", failed, err, r.Failed, said.String())
	}
}

// TestReadTwo reads two commands that run at the same time.
func TestReadTwo(t *testing.T) {
	var said strings.Builder
	r := Run{Out: &said, Root: "/repo"}
	var both sync.WaitGroup
	for _, module := range []string{"a", "b"} {
		in, out := io.Pipe()
		both.Go(func() {
			if failed, err := r.Read(module, in); failed != (module == "b") || err != nil {
				t.Errorf("Read(%s) = %v, %v, want %v", module, failed, err, module == "b")
			}
		})
		both.Go(func() {
			defer out.Close()
			for n := range 100 {
				name, result := fmt.Sprint("TestX", n), "pass"
				if module == "b" && n == 50 {
					result = "fail"
				}
				fmt.Fprintf(out, `{"Action":"output","Package":"m","Test":%q,"Output":"/repo/%s/x_test.go:%d: word\n"}`+"\n", name, module, n)
				fmt.Fprintf(out, `{"Action":%q,"Package":"m","Test":%q}`+"\n", result, name)
			}
			fmt.Fprintf(out, `{"Action":%q,"Package":"m"}`+"\n", map[string]string{"a": "pass", "b": "fail"}[module])
		})
	}
	both.Wait()
	if r.Passed != 199 || r.Failed != 1 || !strings.Contains(said.String(), "b/x_test.go:50: word\n") || strings.Count(said.String(), "word") != 1 {
		t.Errorf("Read of two: %d passed, %d failed, want 199, and 1 that is shown\n%s", r.Passed, r.Failed, said.String())
	}
}

func TestClickable(t *testing.T) {
	r := &Run{Root: "/my repo"}
	tests := []struct{ module, line, want string }{
		{"a mod", "x/y.go:1:2: undefined: z\n", "a mod/x/y.go:1:2: undefined: z\n"},
		{"a mod", "./y_test.go:1:2: undefined: z\n", "a mod/y_test.go:1:2: undefined: z\n"},
		{"a mod", "vet: x/y.go:1:2: undefined: z\n", "vet: a mod/x/y.go:1:2: undefined: z\n"},
		{"a mod", "my x.go:1: y\n", "a mod/my x.go:1: y\n"},
		{"", "    /my repo/a mod/x/y_test.go:7: got 1, want 2\n", "    a mod/x/y_test.go:7: got 1, want 2\n"},
		{"", "    /my repo/y_test.go:7: see /my repo/z.go:1: it\n", "    y_test.go:7: see /my repo/z.go:1: it\n"},

		// Elsewhere, or no place.
		{"a mod", "/usr/local/go/src/testing/testing.go:1: x\n", "/usr/local/go/src/testing/testing.go:1: x\n"},
		{"a mod", "../../y.go:1:2: x\n", "../../y.go:1:2: x\n"},
		{"a mod", "# a/b\n", "# a/b\n"},
		{"", "\t/my repo/a mod/x.go:1 +0x2\n", "\t/my repo/a mod/x.go:1 +0x2\n"},
		{"", "        x/y.go:1:2: undefined: z\n", "        x/y.go:1:2: undefined: z\n"},
		{"", "ok  \ta/b\t0.1s\n", "ok  \ta/b\t0.1s\n"},
		{"", "\n", "\n"},
	}
	for _, tt := range tests {
		if got := r.clickable(tt.line, tt.module); got != tt.want {
			t.Errorf("clickable(%q, %q) = %q, want %q", tt.line, tt.module, got, tt.want)
		}
	}
}
