package airtoml

import (
	"reflect"
	"testing"
)

func TestWords(t *testing.T) {
	tests := []struct {
		command string
		want    []string
	}{
		{"", nil},
		{"go  build", []string{"go", "build"}},
		{`-gcflags=m/...='-N -l' x`, []string{"-gcflags=m/...=-N -l", "x"}},
		{`a "" 'b"c'`, []string{"a", "", `b"c`}},
		{"a \\\n  b", []string{"a", "b"}},
	}
	for _, tt := range tests {
		if got := Words(tt.command); !reflect.DeepEqual(got, tt.want) {
			t.Errorf("Words(%q) = %q, want %q", tt.command, got, tt.want)
		}
	}
}

func TestConfig(t *testing.T) {
	c, err := Parse("[build]\ncmd = \"A=1 devloop build $TAGS -x=y -gcflags='-N -l' -o tmp/s ./cmd\"\n")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := c.GoBuild(); err != nil || got != "A=1 go build $TAGS -x=y -gcflags='-N -l' -o tmp/s ./cmd" {
		t.Errorf("GoBuild() = %q, %v", got, err)
	}
	if got, err := c.Output(); err != nil || got != "tmp/s" {
		t.Errorf("Output() = %q, %v, want tmp/s", got, err)
	}
	want := Build{map[string]string{"A": "1"}, []string{"-x=y", "-gcflags=-N -l"}}
	if got, err := Find(c.Build.Cmd); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("Find(%q) = %+v, %v, want %+v", c.Build.Cmd, got, err, want)
	}
	if _, err := Find("make all"); err == nil {
		t.Error(`Find("make all") = nil, want an error`)
	}
}
