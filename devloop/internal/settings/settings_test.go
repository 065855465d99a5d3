package settings

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// TestWatch edits a file in steps, each of which must be told of before the next.
func TestWatch(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), ".env")
	ctx, cancel := context.WithCancel(t.Context())
	told := make(chan []string, 10)
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write("PORT=1\nSECRET='a b'\n")
	file := Open(path)
	done := make(chan struct{})
	go func() {
		defer close(done)
		file.Watch(ctx, func(names []string) { told <- names })
	}()
	for _, test := range []struct {
		text string
		want []string
	}{
		{"# nothing but a comment is new\nPORT=9\nSECRET='a b'\n", []string{"PORT"}},
		{"PORT=9\nexport LEVEL=debug\nSECRET='a b'\n", []string{"LEVEL"}},
		{"PORT=8\nLEVEL=debug\n", []string{"PORT", "SECRET"}},
	} {
		write(test.text)
		if got := testkit.Within(t, "the news of "+test.text, told); !slices.Equal(got, test.want) {
			t.Errorf("Watch, once the file is\n%s\ntells of %q, want %q", test.text, got, test.want)
		}
	}
	cancel()
	testkit.Within(t, "the end of Watch", done)
}

func TestDiffer(t *testing.T) {
	tests := []struct {
		before, after string
		want          []string
	}{
		{"", "", nil},
		{"A=1\n", "A=1\n", nil},
		{"A=1\n", "# B=2\nA=1\n\n", nil},
		{"A=1\nB=2\n", "B=2\nA=1\n", nil},
		{"A=1\n", "A=1\nB=\n", []string{"B"}},
		{"B=2\nA=1\n", "", []string{"A", "B"}},
		{"A=1\n", "A=2\n", []string{"A"}},
		{"A=1\n", "export A=1\n", nil},
	}
	for _, test := range tests {
		file := func(text string) map[string]string {
			path := filepath.Join(t.TempDir(), "file")
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return parse(path)
		}
		if got := differ(file(test.before), file(test.after)); !slices.Equal(got, test.want) {
			t.Errorf("differ(%q, %q) = %q, want %q", test.before, test.after, got, test.want)
		}
	}
}
