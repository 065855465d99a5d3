// Agent stands in for an agent, and lets a test look around inside. It is also
// the agent of the tests that all drivers pass.
package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"workspace-server/internal/provision/provisiontest"
)

func main() {
	if provisiontest.IsAgent() {
		provisiontest.Agent()
	}
	fmt.Println("started with", strings.Join(os.Args[1:], " "))
	if code := os.Getenv("EXIT_CODE"); code != "" {
		n, err := strconv.Atoi(code)
		check(err)
		os.Exit(n)
	}
	if os.Getenv("EAT") != "" {
		eat()
	}
	if os.Getenv("IGNORE_TERM") != "" {
		signal.Ignore(syscall.SIGTERM)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /env", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, strings.Join(os.Environ(), "\n"))
	})
	mux.HandleFunc("GET /file", func(w http.ResponseWriter, r *http.Request) {
		text, err := os.ReadFile(r.FormValue("path"))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
		w.Write(text)
	})
	mux.HandleFunc("PUT /file", func(w http.ResponseWriter, r *http.Request) {
		text, err := io.ReadAll(r.Body)
		if err == nil {
			err = os.WriteFile(r.FormValue("path"), text, 0o600)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	mux.HandleFunc("GET /dial", func(w http.ResponseWriter, r *http.Request) {
		conn, err := net.DialTimeout("tcp", r.FormValue("address"), time.Second)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		conn.Close()
	})
	mux.HandleFunc("POST /log", func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.FormValue("out"))
		if text := r.FormValue("err"); text != "" {
			fmt.Fprintln(os.Stderr, text)
		}
	})
	server := &http.Server{Addr: os.Getenv("AGENT_LISTEN"), Handler: mux}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if os.Getenv("IGNORE_TERM") == "" {
		context.AfterFunc(ctx, func() {
			fmt.Println("terminated")
			os.Exit(0)
		})
	}
	check(server.ListenAndServe())
}

// eat uses memory until it is stopped.
func eat() {
	var all [][]byte
	for {
		piece := make([]byte, 16<<20)
		for i := range piece {
			piece[i] = 1
		}
		all = append(all, piece)
	}
}

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
