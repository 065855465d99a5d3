package api

import (
	"net/http"

	"workspace-server/internal/openapi"
)

func (a *api) getDocument(w http.ResponseWriter, _ *http.Request) error {
	return writeText(w, "application/json", []byte(openapi.Document))
}

func (a *api) getPage(w http.ResponseWriter, _ *http.Request) error {
	page, err := openapi.Page(func(kind string) string { return access(kind).words() })
	if err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'")
	return writeText(w, "text/html; charset=utf-8", page)
}

func writeText(w http.ResponseWriter, contentType string, text []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text) // net/http notices a client that went away
	return nil
}
