package reload

import (
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"e2e/harness/command"
	"e2e/harness/loop"
)

// readme: the commands that the README shows beside "make" do what it says.
func readme(t *testing.T, l *loop.Loop) {
	text, err := l.Checkout.Read("README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\$ (curl .*)$`).FindAllStringSubmatch(text, -1)
	if len(found) == 0 {
		t.Fatal("README.md shows no curl command to try")
	}
	token := regexp.MustCompile(`(?m)^\$ (auth=.*)$`).FindStringSubmatch(text)
	if token == nil {
		t.Fatal("README.md does not show how to get a token")
	}
	for _, m := range found {
		line := regexp.MustCompile(`(localhost|127\.0\.0\.1):8080`).ReplaceAllString(m[1], l.Addr())
		args := token[1] + "; " + strings.Replace(line, "curl ", "curl --fail-with-body ", 1)
		ctx := within(t, time.Minute)
		p, err := command.Start(command.Options{Dir: l.Checkout.Dir, Run: l.Checkout.Run}, "sh", "-c", args)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(line, " -sN ") { // a stream never ends
			if _, err := p.Out.Wait(ctx, 0, regexp.MustCompile(`^id: \d+$`)); err != nil {
				t.Errorf("%s: %v", m[1], err)
			}
			p.Signal(syscall.SIGTERM)
			<-p.Done()
			continue
		}
		code, err := p.Wait(ctx)
		if out := p.Text(); err != nil || out == "" || code != 0 {
			t.Errorf("%s: exit code %d, %v, printed %q, want an answer", m[1], code, err, out)
		}
	}
}
