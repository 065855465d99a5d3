package reload

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"e2e/internal/command"
	"e2e/internal/loop"
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
		stream := strings.Contains(line, "-sN") || strings.Contains(line, "-N")
		// A stream has no end of its own: curl's 28 is the end of our patience.
		args := token[1] + "; " + strings.Replace(line, "curl ", "curl --fail-with-body --max-time 2 ", 1)
		code, out, err := command.Run(within(t, time.Minute), command.Options{Dir: l.Checkout.Dir, Run: l.Checkout.Run}, "sh", "-c", args)
		if err != nil || out == "" || code != 0 && !(stream && code == 28) {
			t.Errorf("%s: exit code %d, %v, printed %q, want an answer", m[1], code, err, out)
		}
	}
}
