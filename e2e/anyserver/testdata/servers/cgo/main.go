// Cgo is a server with a part in C, which the dynamic linker loads.
package main

// static int answer(int n) { return n + 1; }
import "C"

import (
	"net/http"

	"servers/program"
)

func main() {
	if C.answer(41) != 42 {
		panic("C does not answer")
	}
	program.Serve(&http.Server{Handler: program.Handler()})
}
