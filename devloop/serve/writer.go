package serve

import (
	"bufio"
	"io"
	"net"
	"net/http"
)

// closingWriter puts "Connection: close" into every response of HTTP/1 whose header is
// written while the server drains, even if the request arrived before. It has the
// methods of net/http's own writer, since programs look for them.
type closingWriter struct {
	http.ResponseWriter
	server *Server
	wrote  bool
}

func (w *closingWriter) beforeHeader() {
	if !w.wrote && w.server.draining.Load() {
		w.Header().Set("Connection", "close")
	}
}

// begin is called before what writes the header, if nothing has yet.
func (w *closingWriter) begin() {
	w.beforeHeader()
	w.wrote = true
}

// WriteHeader implements http.ResponseWriter.
func (w *closingWriter) WriteHeader(status int) {
	if status >= 200 { // what comes before is no response yet, or switches the protocol
		w.begin()
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *closingWriter) Write(p []byte) (int, error) {
	w.begin()
	return w.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (w *closingWriter) WriteString(text string) (int, error) {
	w.begin()
	return io.WriteString(w.ResponseWriter, text)
}

// ReadFrom implements io.ReaderFrom: net/http lets the kernel copy a file.
func (w *closingWriter) ReadFrom(r io.Reader) (int64, error) {
	w.begin()
	return io.Copy(w.ResponseWriter, r)
}

// Flush implements http.Flusher.
func (w *closingWriter) Flush() { _ = w.FlushError() }

// FlushError serves http.ResponseController.
func (w *closingWriter) FlushError() error {
	w.begin()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker.
func (w *closingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.wrote = true
	return http.NewResponseController(w.ResponseWriter).Hijack()
}

// CloseNotify implements http.CloseNotifier, which frameworks still call.
func (w *closingWriter) CloseNotify() <-chan bool {
	return w.ResponseWriter.(interface{ CloseNotify() <-chan bool }).CloseNotify()
}

// Unwrap gives http.ResponseController all else, such as deadlines.
func (w *closingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
