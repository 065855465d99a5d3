// Package program is what the small servers have in common: their version, and
// one answer to every request.
package program

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

// Version is set by the linker.
var Version = "none"

// Answer is the version and the process, as each response names them.
func Answer() string { return fmt.Sprintf("%s %d", Version, os.Getpid()) }

// Handler answers with the body of the request, and says who it is.
func Handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return // the client is gone
		}
		w.Header().Set("Server-Version", Answer())
		_, _ = w.Write(body)
	})
}

// Fail ends the program with an error.
func Fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
