// Sse sends a stream of ten events, half a second long in all.
package main

import (
	"fmt"
	"net/http"
	"time"

	"servers/program"
)

func main() {
	program.Serve(&http.Server{Handler: http.HandlerFunc(events)})
}

func events(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Server-Version", program.Answer())
	for i := range 10 {
		if _, err := fmt.Fprintf(w, "data: %d\n\n", i); err != nil {
			return
		}
		if err := http.NewResponseController(w).Flush(); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}
