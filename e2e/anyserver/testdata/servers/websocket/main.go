// Websocket sends back what comes over a WebSocket, until the client ends it.
package main

import (
	"net/http"

	"github.com/coder/websocket"

	"servers/program"
)

func main() {
	program.Serve(&http.Server{Handler: http.HandlerFunc(echo)})
}

func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Server-Version", program.Answer())
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // Accept has answered
	}
	defer conn.CloseNow()
	for {
		kind, message, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if err := conn.Write(r.Context(), kind, message); err != nil {
			return
		}
	}
}
