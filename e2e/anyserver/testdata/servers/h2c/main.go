// H2c speaks HTTP/2 without TLS, and HTTP/1.1.
package main

import (
	"net/http"

	"servers/program"
)

func main() {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	program.Serve(&http.Server{Handler: program.Handler(), Protocols: protocols})
}
