package initialize

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Config is the name of air's configuration, which air finds by itself, too.
const Config = ".air.toml"

// config returns air's whole configuration. The arguments are the program's.
func config(m Module, main Main, arguments, ignored []string) string {
	var b strings.Builder
	output := "tmp/" + main.Name
	fmt.Fprintf(&b, `#:schema https://json.schemastore.org/any.json

# What air (github.com/air-verse/air) watches and runs. It works under "devloop up",
# where a reload loses nothing, and as plain "air".
root = "."
tmp_dir = "tmp"

[build]
# Our own packages are not optimised, so that Delve sees every variable.
cmd = %s
entrypoint = %s
include_ext = ["go", "mod", "sum", "work"]
exclude_regex = ["_test\\.go$"]
exclude_dir = %s
delay = 1 # ms; 0 would mean air's default of 1000

[misc]
startup_banner = ""
`,
		quote("devloop build -buildvcs=false -gcflags="+m.Path+"/...='-N -l' -o "+shell(output)+" "+shell(main.Dir)),
		quotes(append([]string{"devloop", "run", output}, arguments...)),
		quotes(append([]string{"tmp"}, ignored...)))
	return b.String()
}

// quote returns a string as TOML writes it; what differs from Go does not occur in
// paths and flags.
func quote(text string) string { return strconv.Quote(text) }

func quotes(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// shell quotes a word for the shell that air runs the command with.
func shell(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-/{}:=,@%+") == "" && word != "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// ignored returns the directories that git ignores, relative to dir, without tmp, and
// those that hold no source of the program.
func ignored(ctx context.Context, dir string) []string {
	found := map[string]bool{}
	if out, err := git(ctx, dir, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--directory"); err == nil {
		for name := range strings.SplitSeq(string(out), "\x00") {
			if sub, ok := strings.CutSuffix(name, "/"); ok && sub != "tmp" && sub != "." {
				found[sub] = true
			}
		}
	}
	for _, name := range []string{"node_modules", "testdata"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err == nil && info.IsDir() {
			found[name] = true
		}
	}
	names := make([]string, 0, len(found))
	for name := range found {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func git(ctx context.Context, dir string, args ...string) ([]byte, error) {
	return exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...).Output()
}

// write writes a new file. One that is there is replaced only if force says so.
func write(path, text string, force bool) error {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if force {
		flags = os.O_WRONLY | os.O_CREATE | os.O_TRUNC
	}
	file, err := os.OpenFile(path, flags, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%s is there already: change it by hand, or have it replaced with -f", path)
	}
	if err != nil {
		return err
	}
	_, err = file.WriteString(text)
	return errors.Join(err, file.Close())
}

// ignore has git ignore tmp, if it does not yet and there is a .gitignore, and returns
// that file's path.
func ignore(ctx context.Context, dir string) (string, error) {
	if _, err := git(ctx, dir, "check-ignore", "-q", "tmp/x"); err == nil {
		return "", nil
	}
	path, line := filepath.Join(dir, ".gitignore"), "tmp/"
	if _, err := os.Stat(path); err != nil {
		top, err := git(ctx, dir, "rev-parse", "--show-toplevel")
		if err != nil {
			return "", nil // no repository, so no one needs it
		}
		root := strings.TrimSuffix(string(top), "\n")
		below, err := filepath.Rel(root, dir)
		if err != nil {
			return "", nil
		}
		path, line = filepath.Join(root, ".gitignore"), "/"+filepath.ToSlash(filepath.Join(below, "tmp"))+"/"
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	for old := range strings.Lines(string(text)) {
		if strings.TrimSpace(old) == line {
			return "", nil
		}
	}
	if len(text) > 0 && !bytes.HasSuffix(text, []byte("\n")) {
		text = append(text, '\n')
	}
	return path, os.WriteFile(path, append(text, line+"\n"...), 0o644)
}
