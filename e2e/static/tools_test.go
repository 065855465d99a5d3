package static

import (
	"path"
	"slices"
	"strings"
	"testing"
)

// TestModules: what the scripts do in each Go module they do in all.
func TestModules(t *testing.T) {
	var want []string
	for _, name := range files(t, "go.mod") {
		if !strings.Contains(name, "testdata/") {
			want = append(want, path.Dir(name))
		}
	}
	slices.Sort(want)
	got := strings.Fields(only(t, "scripts/common", `(?m)^modules='(.*)'$`))
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("scripts/common names the modules %v, want %v", got, want)
	}
	for _, script := range []string{"scripts/check", "scripts/warm"} {
		if !strings.Contains(read(t, script), "for module in $modules; do") {
			t.Errorf("%s does not go through the modules of scripts/common", script)
		}
	}
}
