// Client keeps a server under load from 16 clients until its standard input ends.
// It says in lines of JSON when another process answers, and what came of it all.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"servers/program"
)

// clients is how many there are.
const clients = 16

// maxFailures is how many failures are told in words.
const maxFailures = 20

// A report is what the clients saw.
type report struct {
	Requests int
	Failed   int
	Failures []string       // the first of them
	Rested   int            // failed on a connection that had rested, see conn.go
	Versions map[string]int // answers by what answered
}

// A step is one request of one client, to its end. It returns who answered, or
// nothing where the answer does not say.
type step func(ctx context.Context) (version string, err error)

func main() {
	kind := flag.String("kind", "http", "http, https, h2c, grpc, websocket or sse")
	addr := flag.String("addr", "", "where the server listens; several are separated by commas")
	again := flag.Bool("again", false, "send bodies that can be sent again")
	pause := flag.Duration("pause", 5*time.Millisecond, "between two requests of a client")
	flag.Parse()
	makers := map[string]func(n int, addr string, again bool) step{
		"http": httpStep, "https": httpsStep, "h2c": h2cStep, "grpc": grpcStep, "websocket": websocketStep, "sse": sseStep,
	}
	if makers[*kind] == nil {
		program.Fail(fmt.Errorf("unknown kind %q", *kind))
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, os.Stdin)
	}()
	r := &report{Versions: map[string]int{}}
	out := json.NewEncoder(os.Stdout)
	var mu sync.Mutex
	var wg sync.WaitGroup
	addrs := strings.Split(*addr, ",")
	for n := range clients {
		next := makers[*kind](n, addrs[n/4%len(addrs)], *again)
		wg.Go(func() {
			for {
				ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
				version, err := next(ctx)
				cancel()
				mu.Lock()
				if r.add(n, version, err) {
					program.Fail(out.Encode(map[string]string{"Seen": version}))
				}
				mu.Unlock()
				select {
				case <-done:
					return
				case <-time.After(*pause):
				}
			}
		})
	}
	wg.Wait()
	program.Fail(out.Encode(r))
}

// add counts a request, and reports whether another process answered it than any
// before.
func (r *report) add(client int, version string, err error) (news bool) {
	r.Requests++
	switch {
	case err == nil && version == "":
	case err == nil:
		r.Versions[version]++
		return r.Versions[version] == 1
	case rested(err):
		r.Rested++
	default:
		r.Failed++
		if len(r.Failures) < maxFailures {
			r.Failures = append(r.Failures, fmt.Sprintf("%s client %d: %v", time.Now().Format("15:04:05.000"), client, err))
		}
	}
	return false
}
