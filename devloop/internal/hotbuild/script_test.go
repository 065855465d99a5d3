package hotbuild

import (
	"slices"
	"strings"
	"testing"
)

// printed is what "go build -a -n" prints, shortened.
const printed = `mkdir -p $WORK/b002/

#
# m/greeting
#

echo '# import config' > $WORK/b002/importcfg # internal
cat >$WORK/b002/embedcfg << 'EOF' # internal
{
	"Patterns": {}
}EOF
cd /src/m
/go/tool/compile -o $WORK/b002/_pkg_.a -trimpath "$WORK/b002=>" -p m/greeting -embedcfg $WORK/b002/embedcfg -pack ./greeting/of.go
/go/tool/asm -p runtime -o $WORK/b003/asm.o ./asm.s
go tool buildid -w $WORK/b002/_pkg_.a # internal
cat >$WORK/b001/importcfg << 'EOF' # internal
# import config
importmap old=new
packagefile m/greeting=$WORK/b002/_pkg_.a
EOF
/go/tool/compile -o $WORK/b001/_pkg_.a -p main -pack "./a b.go"
cat >$WORK/b001/importcfg.link << 'EOF' # internal
packagefile m=$WORK/b001/_pkg_.a
modinfo "path\tm\n"
EOF
cd .
GOROOT='/usr/local go' /go/tool/link -o $WORK/b001/exe/a.out -importcfg $WORK/b001/importcfg.link -X "main.v=a b" $WORK/b001/_pkg_.a
mv $WORK/b001/exe/a.out out/x
`

func TestParseScript(t *testing.T) {
	s, err := parseScript(printed, "/go/tool")
	if err != nil {
		t.Fatalf("parseScript() = %v", err)
	}
	wantCompiles := map[string]string{
		"$WORK/b002": "-o|$WORK/b002/_pkg_.a|-trimpath|$WORK/b002=>|-p|m/greeting|-embedcfg|$WORK/b002/embedcfg|-pack|./greeting/of.go",
		"$WORK/b001": "-o|$WORK/b001/_pkg_.a|-p|main|-pack|./a b.go",
	}
	for dir, want := range wantCompiles {
		if got := strings.Join(s.compiles[dir], "|"); got != want {
			t.Errorf("compiles[%s] = %s, want %s", dir, got, want)
		}
	}
	if len(s.compiles) != len(wantCompiles) {
		t.Errorf("compiles = %q, want %d", s.compiles, len(wantCompiles))
	}
	if len(s.links) != 1 {
		t.Fatalf("links = %q, want 1", s.links)
	}
	const wantLink = "-o|$WORK/b001/exe/a.out|-importcfg|$WORK/b001/importcfg.link|-X|main.v=a b|$WORK/b001/_pkg_.a"
	if got := strings.Join(s.links[0].args, "|"); got != wantLink {
		t.Errorf("the link's arguments are %s, want %s", got, wantLink)
	}
	if got, want := s.links[0].env, []string{"GOROOT=/usr/local go"}; !slices.Equal(got, want) {
		t.Errorf("the link's variables are %q, want %q", got, want)
	}
	for name, want := range map[string]string{
		"$WORK/b002/importcfg":      "# import config\n",
		"$WORK/b002/embedcfg":       "{\n\t\"Patterns\": {}\n}",
		"$WORK/b001/importcfg":      "# import config\nimportmap old=new\npackagefile m/greeting=$WORK/b002/_pkg_.a\n",
		"$WORK/b001/importcfg.link": "packagefile m=$WORK/b001/_pkg_.a\nmodinfo \"path\\tm\\n\"\n",
	} {
		if got := s.files[name]; got != want {
			t.Errorf("files[%s] = %q, want %q", name, got, want)
		}
	}
}

func TestParseScriptRefuses(t *testing.T) {
	for _, text := range []string{
		"cat >$WORK/x << 'EOF'\nno end\n",
		"cat >$WORK/x\n",
		"/go/tool/compile \"no end\n",
		"A='no end /go/tool/link x\n",
	} {
		if s, err := parseScript(text, "/go/tool"); err == nil {
			t.Errorf("parseScript(%q) = %q, want an error", text, s)
		}
	}
}

func TestImportConfig(t *testing.T) {
	archives, paths, others := importConfig("# import config\nimportmap old=new\npackagefile a=/x=y\npackagefile b=z\nmodinfo \"=\"\n\n")
	if archives["a"] != "/x=y" || archives["b"] != "z" || len(archives) != 2 {
		t.Errorf("archives = %q", archives)
	}
	if want := []string{"a", "b"}; !slices.Equal(paths, want) {
		t.Errorf("paths = %q, want %q", paths, want)
	}
	if want := []string{"importmap old=new", `modinfo "="`}; !slices.Equal(others, want) {
		t.Errorf("others = %q, want %q", others, want)
	}
}

func TestKeep(t *testing.T) {
	outputs := func(name string) bool { return name == "-o" || name == "-buildid" }
	tests := []struct{ args, want, err string }{
		{"", "", ""},
		{"-o x -p main -N -l", "-p main -N -l", ""},
		{"-o=x -c=2 --N -lang=go1.26", "-c=2 --N -lang=go1.26", ""},
		{"-buildid a/b", "", ""},
		{"-p", "", "flag -p"},
		{"-p main -d=checkptr", "", "flag -d"},
		{"-race", "", "flag -race"},
		{"x.go", "", "flag -x.go"},
	}
	for _, tt := range tests {
		got, err := keep(strings.Fields(tt.args), compilerFlags(), outputs)
		said := ""
		if err != nil {
			said = err.Error()
		}
		if strings.Join(got, " ") != tt.want || said != tt.err {
			t.Errorf("keep(%s) = %q, %v, want %s, %s", tt.args, got, err, tt.want, tt.err)
		}
	}
}

func TestSteady(t *testing.T) {
	a := steady(strings.Fields("-trimpath $WORK/b002=>;/src=>m -p m -c=2 -N"))
	b := steady(strings.Fields("-trimpath $WORK/b198=>;/src=>m -p m -c=1 -N"))
	if want := "-trimpath $WORK=>;/src=>m -p m "; !slices.Equal(a, b) || !strings.HasPrefix(strings.Join(a, " "), want) {
		t.Errorf("steady() = %q and %q, want twice %s...", a, b, want)
	}
}

func TestNewLink(t *testing.T) {
	tests := []struct{ args, modinfo, flags, err string }{
		{"-o x -importcfg y -buildmode=exe -buildid=a/b -X m.v=1 -extld=gcc main.a", `build\tGOOS=linux`, "-buildmode=exe -X m.v=1 -extld=gcc", ""},
		{"-buildmode=exe main.a", `build\tvcs.modified=true`, "", "vcs stamp"},
		{"-linkmode=external main.a", "", "", "flag -linkmode"},
		{"-X ./tmp main.a", "", "", "unknown commands: the link has the word ./tmp"},
	}
	for _, tt := range tests {
		got, err := newLink(command{args: strings.Fields(tt.args)}, nil, []string{`modinfo "` + tt.modinfo + `"`})
		said := ""
		if err != nil {
			said = err.Error()
		}
		if strings.Join(got.flags, " ") != tt.flags || said != tt.err {
			t.Errorf("newLink(%s) = %q, %v, want %s, %s", tt.args, got.flags, err, tt.flags, tt.err)
		}
	}
}
