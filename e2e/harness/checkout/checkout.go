// Package checkout makes private copies of the repository, so nothing
// under test touches the real one, and edits files in them.
package checkout

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	mathrand "math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"e2e/harness/janitor"
)

// containerUser stands in for root, whom the containers' user must not be.
const containerUser = 1000

// A Checkout is a copy of the repository.
type Checkout struct {
	Dir string // its root
	Run string // what its processes are known by, see package command

	janitor  *janitor.Janitor
	uid, gid int // the owner of the files, or -1 for the user who runs this
	original map[string][]byte
}

// Root returns the repository's root, found from the working directory.
func Root() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "devloop", "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("not inside the repository")
		}
	}
}

// New copies the files that git tracks, or would: changes that are not
// committed are tested too.
func New(ctx context.Context, j *janitor.Janitor) (*Checkout, error) {
	root, err := Root()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "e2e-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		return nil, err
	}
	c := &Checkout{Dir: dir, Run: filepath.Base(dir) + "-" + rand.Text()[:8], janitor: j, uid: -1, gid: -1, original: map[string][]byte{}}
	if os.Getuid() == 0 {
		c.uid, c.gid = containerUser, containerUser
	}
	err = errors.Join(j.Add(janitor.Directory(dir)), j.Add(janitor.Processes(c.Run)))
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, "git", "-C", root, "-c", "safe.directory=*", "ls-files", "-co", "--exclude-standard", "-z")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("list the repository's files: %w", err)
	}
	if err := c.chown("."); err != nil {
		return nil, err
	}
	for name := range bytes.SplitSeq(bytes.TrimRight(out, "\x00"), []byte{0}) {
		if err := c.copy(root, string(name)); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *Checkout) copy(root, name string) error {
	from := filepath.Join(root, name)
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted, and not committed
	}
	if err != nil {
		return err
	}
	if err := c.mkdir(filepath.Dir(name)); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if err := os.Symlink(target, c.Path(name)); err != nil {
			return err
		}
		return c.chown(name)
	}
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.Path(name), content, info.Mode().Perm()); err != nil {
		return err
	}
	return c.chown(name)
}

func (c *Checkout) mkdir(name string) error {
	if _, err := os.Stat(c.Path(name)); err == nil {
		return nil
	}
	if err := c.mkdir(filepath.Dir(name)); err != nil {
		return err
	}
	if err := os.Mkdir(c.Path(name), 0o755); err != nil {
		return err
	}
	return c.chown(name)
}

func (c *Checkout) chown(name string) error {
	if c.uid < 0 {
		return nil
	}
	return os.Lchown(c.Path(name), c.uid, c.gid)
}

// Give makes another user the owner of all files, which only root can do.
func (c *Checkout) Give(uid, gid int) error {
	c.uid, c.gid = uid, gid
	return c.chownAll()
}

func (c *Checkout) chownAll() error {
	return filepath.WalkDir(c.Dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(c.Dir, path)
		if err != nil {
			return err
		}
		return c.chown(rel)
	})
}

// Owner returns who owns the files.
func (c *Checkout) Owner() (uid, gid int) {
	if c.uid < 0 {
		return os.Getuid(), os.Getgid()
	}
	return c.uid, c.gid
}

// Commit makes the checkout its own repository with all files committed.
func (c *Checkout) Commit(ctx context.Context) error {
	for _, args := range [][]string{{"init", "-q"}, {"add", "-A"}, {"commit", "-q", "-m", "all"}} {
		git := []string{"-C", c.Dir, "-c", "safe.directory=*", "-c", "user.name=e2e", "-c", "user.email=e2e@example.org", "-c", "gc.auto=0"}
		if out, err := exec.CommandContext(ctx, "git", append(git, args...)...).CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return c.chownAll()
}

// Status returns what git finds changed, new files included.
func (c *Checkout) Status(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "git", "--no-optional-locks", "-C", c.Dir, "-c", "safe.directory=*", "status", "--porcelain").CombinedOutput()
	return string(out), err
}

// Close ends the checkout's processes and removes it.
func (c *Checkout) Close(ctx context.Context) error {
	return errors.Join(
		c.janitor.Remove(ctx, janitor.Processes(c.Run)),
		c.janitor.Remove(ctx, janitor.Directory(c.Dir)),
	)
}

// Path returns the absolute path of a file in the checkout.
func (c *Checkout) Path(name string) string { return filepath.Join(c.Dir, name) }

// Read returns a file's content.
func (c *Checkout) Read(name string) (string, error) {
	b, err := os.ReadFile(c.Path(name))
	return string(b), err
}

// Original returns a file's content as it was before any change.
func (c *Checkout) Original(name string) (string, error) {
	if content, ok := c.original[name]; ok {
		return string(content), nil
	}
	return c.Read(name)
}

// A Way is how an editor saves.
type Way int

// The ways that editors have.
const (
	InPlace Way = iota // truncate and write
	Rename             // write another file and move it over
)

// Write saves a file, making its directories.
func (c *Checkout) Write(name, content string, way Way) error {
	if err := c.Remember(name); err != nil {
		return err
	}
	if err := c.mkdir(filepath.Dir(name)); err != nil {
		return err
	}
	if way == InPlace {
		if err := os.WriteFile(c.Path(name), []byte(content), 0o644); err != nil {
			return err
		}
		return c.chown(name)
	}
	fresh := filepath.Join(filepath.Dir(name), "."+filepath.Base(name)+".new")
	if err := os.WriteFile(c.Path(fresh), []byte(content), 0o644); err != nil {
		return err
	}
	if err := c.chown(fresh); err != nil {
		return err
	}
	return os.Rename(c.Path(fresh), c.Path(name))
}

// Replace saves a file with one text in place of another, which must be there
// once.
func (c *Checkout) Replace(name, old, new string, way Way) error {
	content, err := c.Read(name)
	if err != nil {
		return err
	}
	if n := strings.Count(content, old); n != 1 {
		return fmt.Errorf("%s holds %q %d times, want once", name, old, n)
	}
	return c.Write(name, strings.Replace(content, old, new, 1), way)
}

// Remove deletes a file.
func (c *Checkout) Remove(name string) error {
	if err := c.Remember(name); err != nil {
		return err
	}
	return os.Remove(c.Path(name))
}

// Accept makes the present state the one that Restore goes back to.
func (c *Checkout) Accept() { clear(c.original) }

// Remember keeps what a file was before its first change, for Restore; the
// checkout's own changes do so.
func (c *Checkout) Remember(name string) error {
	if _, ok := c.original[name]; ok {
		return nil
	}
	content, err := os.ReadFile(c.Path(name))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	c.original[name] = content // nil: there was none
	return nil
}

// Restore takes back every change made through the checkout, and reports
// whether there was any.
func (c *Checkout) Restore() (bool, error) {
	changed := false
	for name, content := range c.original {
		now, err := os.ReadFile(c.Path(name))
		switch {
		case content == nil && err == nil:
			changed = true
			if err := os.Remove(c.Path(name)); err != nil {
				return changed, err
			}
		case content != nil && (err != nil || !bytes.Equal(now, content)):
			changed = true
			if err := c.Write(name, string(content), InPlace); err != nil {
				return changed, err
			}
		}
	}
	clear(c.original)
	return changed, nil
}

// Env returns the settings in the checkout's .env.
func (c *Checkout) Env() (map[string]string, error) {
	content, err := c.Read(".env")
	if err != nil {
		return nil, err
	}
	env := map[string]string{}
	for line := range strings.Lines(content) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			env[name] = value
		}
	}
	return env, nil
}

// Ports returns n free TCP ports of the loopback interface. They are not among
// those that the kernel gives to outgoing connections, of which a load makes many
// before a program listens on the port.
func Ports(n int) ([]int, error) {
	const first, last, tries = 20000, 32767, 1000
	var ports []int
	for range tries {
		if len(ports) == n {
			return ports, nil
		}
		port := first + mathrand.IntN(last-first+1)
		l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			continue // taken
		}
		defer l.Close() // only when all are known, so they differ
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("found %d free ports, want %d", len(ports), n)
}

// Foreign lists the files that do not belong to the checkout's owner, but those
// below the directories to skip.
func (c *Checkout) Foreign(skip ...string) ([]string, error) {
	uid, gid := os.Getuid(), -1 // whose group a new file gets differs between systems
	if c.uid >= 0 {
		uid, gid = c.uid, c.gid
	}
	var foreign []string
	err := filepath.WalkDir(c.Dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(c.Dir, path)
		if slices.Contains(skip, rel) {
			return fs.SkipDir
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if u, g := owner(info); u != uid || gid >= 0 && g != gid {
			foreign = append(foreign, fmt.Sprintf("%s of user %d and group %d", rel, u, g))
		}
		return nil
	})
	return foreign, err
}
