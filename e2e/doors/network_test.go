package doors

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"e2e/harness/checkout"
	"e2e/harness/command"
	"e2e/harness/engine"
	"e2e/harness/janitor"
)

// A network is one as companies have: modules come from a server whose certificate
// only an authority of its own vouches for, and which a proxy leads to.
type network struct {
	modules, proxy string // addresses, as containers reach them
	others         string // GOPROXY of this machine, for what the server lacks
	authority      []byte // its certificate, in PEM

	mutex   sync.Mutex
	asked   int             // requests for modules
	tunnels map[string]bool // where the proxy led to
}

// company starts one, if containers here can reach this machine.
func company(t *testing.T) *network {
	t.Helper()
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if name, err := engine.Docker(t.Context(), "info", "--format", "{{.Name}}"); err != nil || strings.TrimSpace(name) != host {
		t.Skipf("the engine is on another machine, %s, whose containers do not reach this one: %v", strings.TrimSpace(name), err)
	}
	gateway, err := engine.Docker(t.Context(), "network", "inspect", "bridge", "--format", "{{(index .IPAM.Config 0).Gateway}}")
	if err != nil {
		t.Fatal(err)
	}
	ip := net.ParseIP(strings.TrimSpace(gateway))
	n := &network{tunnels: map[string]bool{}}
	out, err := exec.Command("go", "env", "GOMODCACHE", "GOPROXY").Output()
	if err != nil {
		t.Fatal(err)
	}
	cache, others, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	n.others = others
	files := http.FileServer(http.Dir(cache + "/cache/download"))
	n.modules = serve(t, ip, n.certify(t, ip), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.mutex.Lock()
		n.asked++
		n.mutex.Unlock()
		files.ServeHTTP(w, r)
	}))
	n.proxy = serve(t, ip, nil, http.HandlerFunc(n.tunnel))
	return n
}

// seen returns how many requests for modules there were, and whether all came
// through the proxy; it forgets them.
func (n *network) seen() (asked int, proxied bool) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	asked, proxied = n.asked, n.tunnels[n.modules]
	n.asked = 0
	clear(n.tunnels)
	return asked, proxied
}

// env is what .env says in that network. What the server lacks comes from elsewhere,
// also through the proxy.
func (n *network) env() string {
	return fmt.Sprintf("GOPROXY=https://%s,%s\nHTTPS_PROXY=http://%s\nEXTRA_CA_CERTS=.env.ca.pem\n", n.modules, n.others, n.proxy)
}

// join has a checkout be in that network.
func (n *network) join(c *checkout.Checkout) error {
	env, err := c.Read(".env")
	if err != nil {
		return err
	}
	if err := c.Write(".env.ca.pem", string(n.authority), checkout.InPlace); err != nil {
		return err
	}
	if err := c.Write(".env", env+n.env(), checkout.InPlace); err != nil {
		return err
	}
	c.Accept()
	return nil
}

// certify makes the authority, and has it vouch for the address.
func (n *network) certify(t *testing.T, ip net.IP) *tls.Config {
	t.Helper()
	issue := func(template, parent *x509.Certificate, signer *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = template, key
		}
		der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		return der, key
	}
	until := time.Now().Add(time.Hour)
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Company " + rand.Text()}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	root, key := issue(authority, nil, nil)
	n.authority = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root})
	server := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "modules"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: until,
		IPAddresses: []net.IP{ip}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	leaf, leafKey := issue(server, authority, key)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{leaf}, PrivateKey: leafKey}}}
}

// serve serves at that address until the test ends.
func serve(t *testing.T, ip net.IP, config *tls.Config, handler http.Handler) string {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip.String(), "0"))
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if config != nil {
		l = tls.NewListener(l, config)
	}
	server := &http.Server{Handler: handler, ErrorLog: log.New(io.Discard, "", 0)} // of certificates refused
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(l) // until it is closed
	}()
	t.Cleanup(func() { server.Close(); <-done })
	return addr
}

// tunnel is the proxy: it passes bytes on in both directions.
func (n *network) tunnel(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
		return
	}
	n.mutex.Lock()
	n.tunnels[r.Host] = true
	n.mutex.Unlock()
	out, err := (&net.Dialer{Timeout: time.Minute}).DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	var wait sync.WaitGroup
	wait.Go(func() { _, _ = io.Copy(out, buffered); out.Close() })
	wait.Go(func() { _, _ = io.Copy(in, out); in.Close() })
	wait.Wait()
}

// TestNetwork builds the production image in such a network: modules come through the
// proxy, from the server with that certificate, and the image has nothing of either.
func TestNetwork(t *testing.T) {
	engine.Need(t)
	t.Parallel()
	ctx := within(t, 28*time.Minute)
	n := company(t)
	c, err := checkout.New(ctx, cleaner)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	// A server that is quick to build, with a go.mod that no build has seen.
	for _, dir := range []string{"workspace-server/internal", "workspace-server/cmd"} {
		if err := os.RemoveAll(c.Path(dir)); err != nil {
			t.Fatal(err)
		}
	}
	mod, err := c.Read("workspace-server/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"workspace-server/cmd/workspace-server/main.go": "package main\n\nfunc main() {}\n",
		"workspace-server/go.mod":                       mod + "\n// " + rand.Text() + "\n",
		".env":                                          "PLATFORM_PORT=1\nDEBUG_PORT=2\n",
	} {
		if err := c.Write(name, text, checkout.InPlace); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.join(c); err != nil {
		t.Fatal(err)
	}
	run := func(args ...string) (int, string) {
		code, out, err := command.Run(ctx, command.Options{Dir: c.Dir, Run: c.Run}, args...)
		if err != nil {
			t.Fatal(err)
		}
		return code, out
	}
	if code, out := run("make", "env"); code != 0 {
		t.Fatalf("make env: exit code %d:\n%s", code, out)
	}
	env, err := c.Env()
	if err != nil {
		t.Fatal(err)
	}
	if err := cleaner.Add(janitor.Project(env["COMPOSE_PROJECT_NAME"])); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cleaner.Remove(context.Background(), janitor.Project(env["COMPOSE_PROJECT_NAME"])); err != nil {
			t.Error(err)
		}
	})
	build := []string{"docker", "compose", "-f", "docker-compose.yml", "--progress", "plain", "build", "platform"}
	if code, out := run(build...); code != 0 {
		t.Fatalf("%v: exit code %d:\n%s", build, code, out)
	}
	if asked, proxied := n.seen(); asked == 0 || !proxied {
		t.Errorf("the build asked %d times for modules, through the proxy: %t; want some, and true", asked, proxied)
	}
	image := env["COMPOSE_PROJECT_NAME"] + "-platform"
	saved, err := exec.CommandContext(ctx, "docker", "save", image).Output()
	if err != nil {
		t.Fatal(err)
	}
	history, err := engine.Docker(ctx, "history", "--no-trunc", image)
	if err != nil {
		t.Fatal(err)
	}
	body := bytes.Split(n.authority, []byte("\n"))[1]
	for _, secret := range []string{n.modules, n.proxy, string(body), env["POSTGRES_PASSWORD"]} {
		if bytes.Contains(saved, []byte(secret)) || strings.Contains(history, secret) {
			t.Errorf("the image has %q of .env in it", secret)
		}
	}
	// Without the certificate it does not build, so it was the one that counted.
	if err := c.Write(".env.ca.pem", strings.Replace(string(n.authority), string(body), "", 1), checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	if err := c.Write("workspace-server/go.mod", mod+"\n// "+rand.Text()+"\n", checkout.InPlace); err != nil {
		t.Fatal(err)
	}
	if code, out := run(build...); code == 0 || !strings.Contains(out, "certificate") {
		t.Errorf("without the certificate the build ends with exit code %d:\n%s\nwant it refused", code, out)
	}
}
