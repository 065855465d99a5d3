package initialize

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"devloop/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// module writes a module of one package main, whose imports need not exist.
func module(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if _, ok := files["go.mod"]; !ok {
		files["go.mod"] = "module example.com/server\n\ngo 1.26\n"
	}
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOWORK", "off")
	return dir
}

// TestListens has programs of the shapes that servers have.
func TestListens(t *testing.T) {
	const std = `import ("flag"; "fmt"; "net"; "net/http"; "os"; "strconv"); `
	tests := []struct {
		name, source string
		want         []Listen
	}{
		{"constant", std + `func main() { http.ListenAndServe(":8080", nil) }`, []Listen{{Kind: Fixed, Default: ":8080"}}},
		{"named constant", std + `const addr = "localhost:9000"; func main() { http.ListenAndServe(addr, nil) }`, []Listen{{Kind: Fixed, Default: "localhost:9000"}}},
		{"any free port", std + `func main() { net.Listen("tcp", "127.0.0.1:0") }`, []Listen{{Kind: Unknown}}},
		{"flag with an address", std + `var addr = flag.String("addr", ":8080", ""); func main() { http.ListenAndServe(*addr, nil) }`, []Listen{{Kind: Flag, Name: "-addr", Default: ":8080"}}},
		{"flag with a port", std + `func main() { port := flag.Int("port", 8080, ""); flag.Parse(); http.ListenAndServe(fmt.Sprintf(":%d", *port), nil) }`, []Listen{{Kind: Flag, Name: "-port", Port: true, Default: ":8080"}}},
		{"flag in a field", std + `type config struct { listen string }; func main() { var c config; flag.StringVar(&c.listen, "listen", ":80", ""); http.ListenAndServe(c.listen, nil) }`, []Listen{{Kind: Flag, Name: "-listen", Default: ":80"}}},
		{"flag whose default is a constant", std + `const d = 8081; func main() { p := flag.Int("p", d, ""); http.ListenAndServe(net.JoinHostPort("", strconv.Itoa(*p)), nil) }`, []Listen{{Kind: Flag, Name: "-p", Port: true, Default: ":8081"}}},
		{"cobra", `import ("net/http"; "github.com/spf13/cobra"); func main() { var addr string; c := &cobra.Command{}; c.Flags().StringVarP(&addr, "addr", "a", ":7000", ""); http.ListenAndServe(addr, nil) }`, []Listen{{Kind: Flag, Name: "--addr", Default: ":7000"}}},
		{"PORT", std + `func main() { port := os.Getenv("PORT"); if port == "" { port = "3000" }; http.ListenAndServe(":"+port, nil) }`, []Listen{{Kind: Variable, Name: "PORT", Port: true, Default: ":3000"}}},
		{"variable with an address", std + `func main() { http.ListenAndServe(os.Getenv("LISTEN_ADDR"), nil) }`, []Listen{{Kind: Variable, Name: "LISTEN_ADDR"}}},
		{"helper for variables", std + `func main() { s := &http.Server{Addr: ":" + envOr("APP_PORT", "8000")}; s.ListenAndServe() }; func envOr(k, d string) string { return d }`, []Listen{{Kind: Variable, Name: "APP_PORT", Port: true, Default: ":8000"}}},
		{"LookupEnv", std + `func main() { a, ok := os.LookupEnv("ADDR"); if !ok { a = "127.0.0.1:8888" }; http.ListenAndServe(a, nil) }`, []Listen{{Kind: Variable, Name: "ADDR", Default: "127.0.0.1:8888"}}},
		{"tag", std + "type config struct { Port int `env:\"HTTP_PORT\" envDefault:\"8090\"`; DB struct { Port int `env:\"DB_PORT\" envDefault:\"5432\"` } }; func main() { var c config; http.ListenAndServe(fmt.Sprintf(\":%d\", c.Port), nil) }", []Listen{{Kind: Variable, Name: "HTTP_PORT", Port: true, Default: ":8090"}}},
		{"parameter", std + `func main() { run(os.Getenv("PORT")) }; func run(port string) { http.ListenAndServe("0.0.0.0:"+port, nil) }`, []Listen{{Kind: Variable, Name: "PORT", Port: true}}},
		{"gin", `import "github.com/gin-gonic/gin"; func main() { r := gin.Default(); r.Run() }`, []Listen{{Kind: Variable, Name: "PORT", Port: true}}},
		{"gin with an address", `import "github.com/gin-gonic/gin"; func main() { r := gin.Default(); r.Run(":8085") }`, []Listen{{Kind: Fixed, Default: ":8085"}}},
		{"echo", `import "github.com/labstack/echo/v4"; func main() { e := echo.New(); e.Logger.Fatal(e.Start(":1323")) }`, []Listen{{Kind: Fixed, Default: ":1323"}}},
		{"fiber", `import ("os"; "github.com/gofiber/fiber/v2"); func main() { app := fiber.New(); app.Listen(":" + os.Getenv("PORT")) }`, []Listen{{Kind: Variable, Name: "PORT", Port: true}}},
		{"go-systemd", `import "github.com/coreos/go-systemd/v22/activation"; func main() { activation.Listeners() }`, []Listen{{Kind: Socket}}},
		{"by hand", std + `func main() { if os.Getenv("LISTEN_FDS") != "" {}; http.ListenAndServe(":8080", nil) }`, []Listen{{Kind: Socket}, {Kind: Fixed, Default: ":8080"}}},
		{"devloop/serve", `import ("context"; "net/http"; "devloop/serve"); func main() { serve.Run(context.Background(), &http.Server{Addr: ":8080"}) }`, []Listen{{Kind: Socket}, {Kind: Fixed, Default: ":8080"}}},
		{"two", std + `func main() { go http.ListenAndServe("localhost:6060", nil); http.ListenAndServe(":"+os.Getenv("PORT"), nil) }`, []Listen{{Kind: Variable, Name: "PORT", Port: true}, {Kind: Fixed, Default: "localhost:6060"}}},
		{"a socket in the file system", std + `func main() { net.Listen("unix", "/run/x") }`, []Listen{{Kind: Unknown}}},
		{"a file", std + `func main() { http.ListenAndServe(load("APP_LISTEN"), nil) }; func load(string) string { return "" }`, []Listen{{Kind: Unknown, Candidates: []string{"APP_LISTEN"}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m, err := Read(t.Context(), module(t, map[string]string{"main.go": "package main; " + tt.source}))
			if err != nil {
				t.Fatal(err)
			}
			main, err := m.Find(".")
			if err != nil {
				t.Fatal(err)
			}
			got := m.Listens(main)
			for i := range got {
				got[i].Where = ""
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", tt.want) {
				t.Errorf("Listens = %+v, want %+v", got, tt.want)
			}
		})
	}
}

func TestPlan(t *testing.T) {
	tests := []struct {
		listens          []Listen
		options          Options
		flags, arguments string
		notes            int
	}{
		{[]Listen{{Kind: Socket}, {Kind: Fixed, Default: ":9"}}, Options{}, "-listen 127.0.0.1:8080", "", 0},
		{[]Listen{{Kind: Flag, Name: "-addr", Default: ":8000"}}, Options{}, "-listen 127.0.0.1:8000", "-addr {addr}", 0},
		{[]Listen{{Kind: Flag, Name: "-p", Port: true, Default: ":80"}}, Options{}, "-listen 127.0.0.1:8080", "-p {port}", 0},
		{[]Listen{{Kind: Flag, Name: "--addr"}}, Options{Arguments: []string{"serve"}}, "-listen 127.0.0.1:8080", "serve --addr={addr}", 0},
		{[]Listen{{Kind: Variable, Name: "PORT", Port: true, Default: ":3000"}}, Options{}, "-listen 127.0.0.1:3000", "", 0},
		{[]Listen{{Kind: Variable, Name: "ADDR"}}, Options{Listen: ":9000"}, "-listen :9000 -setenv ADDR={addr}", "", 0},
		{
			[]Listen{{Kind: Flag, Name: "-http", Default: ":8000"}, {Kind: Flag, Name: "-admin", Default: ":8001"}},
			Options{},
			"-listen 127.0.0.1:8000 -listen 127.0.0.1:8001", "-http {addr} -admin {addr2}", 0,
		},
		{[]Listen{{Kind: Fixed, Default: ":8080"}}, Options{}, "-listen 127.0.0.1:8081", "", 1},
		{[]Listen{{Kind: Variable, Name: "PORT", Port: true}, {Kind: Fixed, Default: ":6060"}}, Options{}, "-listen 127.0.0.1:8080", "", 1},
		{[]Listen{{Kind: Unknown, Candidates: []string{"A_PORT"}}}, Options{}, "-listen 127.0.0.1:8080", "", 2},
	}
	for _, tt := range tests {
		p := planFor(tt.listens, tt.options)
		if got := strings.Join(p.flags, " "); got != tt.flags || strings.Join(p.arguments, " ") != tt.arguments || len(p.notes) != tt.notes {
			t.Errorf("planFor(%+v, %+v) = %q, want flags %s, arguments %s and %d notes", tt.listens, tt.options, p, tt.flags, tt.arguments, tt.notes)
		}
	}
}

func TestChoose(t *testing.T) {
	dir := module(t, map[string]string{"cmd/a/main.go": "package main", "cmd/b/main.go": "package main", "lib/lib.go": "package lib"})
	run := func(o Options) (string, error) {
		var out strings.Builder
		o.Dir, o.Out, o.Force = dir, &out, true
		err := Run(t.Context(), o)
		return out.String(), err
	}
	if _, err := run(Options{}); err == nil || err.Error() != "there are several main packages: choose one with -main, of ./cmd/a, ./cmd/b" {
		t.Errorf("Run without anyone to ask = %v, want the choice", err)
	}
	if _, err := run(Options{Main: "./lib"}); err == nil || !strings.Contains(err.Error(), "./lib is no main package of this module") {
		t.Errorf("Run for a library = %v", err)
	}
	out, err := run(Options{Ask: strings.NewReader("7\n2\nADDR\n")})
	if err != nil || !strings.Contains(out, "  2  ./cmd/b\n") || !strings.Contains(out, "devloop up -listen 127.0.0.1:8080 -setenv ADDR={addr} -- air -c .air.toml") {
		t.Errorf("Run for someone who chose = %v, and prints\n%s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, Config))
	if err != nil || !strings.Contains(string(text), "-o tmp/b ./cmd/b") {
		t.Errorf("the configuration is %v\n%s", err, text)
	}
	if _, err := run(Options{Ask: strings.NewReader("")}); err == nil {
		t.Error("Run for someone who goes away = nil, want an error")
	}
}

func TestContainer(t *testing.T) {
	dir := module(t, map[string]string{"main.go": `package main; import ("net/http"; "os"); func main() { http.ListenAndServe(os.Getenv("ADDR"), nil) }`})
	source := filepath.Join("..", "..")
	run := func(o Options) error {
		o.Dir, o.Out, o.Container = dir, &strings.Builder{}, true
		return Run(t.Context(), o)
	}
	if err := run(Options{Source: dir}); err == nil || !strings.Contains(err.Error(), "name the directory devloop of a checkout with -source") {
		t.Errorf("Run without devloop's source = %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, Config)); err == nil {
		t.Error("Run that failed wrote a configuration")
	}
	absolute, err := filepath.Abs(source)
	if err != nil {
		t.Fatal(err)
	}
	if err := run(Options{Source: absolute}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"docker-compose.dev.yml":          `command: ["devloop", "up", "-listen", ":8080", "-setenv", "ADDR={addr}", "-debug", ":2345", "--", "air", "-c", ".air.toml"]`,
		"Dockerfile.dev":                  "COPY --from=devloop . ./",
		".devcontainer/devcontainer.json": `"name": "server"`,
	} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s is %v\n%s\nwant %s in it", name, err, text, want)
		}
		if strings.Contains(string(text), "$NAME") || strings.Contains(string(text), "$PORT") {
			t.Errorf("%s has a gap:\n%s", name, text)
		}
	}
	if err := run(Options{Source: absolute}); err == nil || !strings.Contains(err.Error(), "is there already") {
		t.Errorf("Run once more = %v, want it to refuse", err)
	}
	if err := run(Options{Source: absolute, Force: true}); err != nil {
		t.Errorf("Run with force = %v", err)
	}
}

func TestIgnored(t *testing.T) {
	dir := module(t, map[string]string{
		"main.go": "package main", ".gitignore": "dist/\n*.log", "dist/x.js": "", "web/node_modules/a/b.js": "", "web/.gitignore": "node_modules\n",
		"x.log": "", "testdata/x": "", "sub/deep/main.go": "package deep",
	})
	if out, err := exec.Command("git", "-C", dir, "init", "-q").CombinedOutput(); err != nil {
		t.Fatalf("git init: %v\n%s", err, out)
	}
	if got, want := ignored(t.Context(), dir), []string{"dist", "testdata", "web/node_modules"}; !slices.Equal(got, want) {
		t.Errorf("ignored = %q, want %q", got, want)
	}
	root := filepath.Join(dir, ".gitignore")
	for i, want := range []string{root, ""} {
		if got, err := ignore(t.Context(), dir); err != nil || got != want {
			t.Errorf("ignore, time %d = %q, %v, want %q", i+1, got, err, want)
		}
	}
	// A module below the repository's root adds to the root's file.
	if got, err := ignore(context.Background(), filepath.Join(dir, "sub", "deep")); err != nil || got != "" {
		t.Errorf("ignore below, where tmp/ is ignored already = %q, %v, want nothing", got, err)
	}
	if err := os.WriteFile(root, []byte("dist/"), 0o644); err != nil {
		t.Fatal(err)
	}
	below := filepath.Join(dir, "sub", "deep")
	if got, err := ignore(t.Context(), below); err != nil || filepath.Base(got) != ".gitignore" {
		t.Errorf("ignore below = %q, %v, want the root's file", got, err)
	}
	if text, err := os.ReadFile(root); err != nil || string(text) != "dist/\n/sub/deep/tmp/\n" {
		t.Errorf(".gitignore is %q, %v", text, err)
	}
}
