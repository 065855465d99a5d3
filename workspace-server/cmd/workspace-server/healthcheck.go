package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"workspace-server/internal/config"
)

const healthTimeout = 4 * time.Second

// healthcheck asks the server on this host whether it is ready, for images without
// a shell or another program that could ask.
func healthcheck(ctx context.Context, cfg config.Config, _ []string, _ func(string) string, s streams) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	addr := config.DialAddr(cfg.ListenAddr)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/readyz", nil)
	if err != nil {
		return err
	}
	transport := &http.Transport{DisableKeepAlives: true}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return fmt.Errorf("not ready: %s does not answer: %w", addr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("not ready: %s: %s", resp.Status, strings.TrimSpace(string(body)))
	}
	_, err = s.out.Write(body)
	return err
}
