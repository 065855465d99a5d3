package supervisor

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
)

// Ports of the server's own come from this range, which is below those that
// systems give to outgoing connections (ip_local_port_range on Linux): one
// that is free now is not taken a moment later.
const (
	firstPort = 20000
	lastPort  = 32000
)

// ownAddresses returns addresses at which nothing listens.
func ownAddresses(n int) ([]string, error) {
	const tries = 1000
	var out []string
	var held []net.Listener
	defer func() {
		for _, l := range held {
			l.Close()
		}
	}()
	for range tries {
		if len(out) == n {
			return out, nil
		}
		port := firstPort + rand.IntN(lastPort-firstPort)
		l, err := net.Listen("tcp", ":"+strconv.Itoa(port)) // at all of the machine's addresses
		if err != nil {
			continue
		}
		held = append(held, l)
		out = append(out, net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	}
	return nil, errors.New("no free port was found for the server")
}

// placeholders returns what fills in the server's own addresses in texts: {addr},
// {host} and {port} of the first, {addr2} and so on of the next.
func placeholders(addresses []string) *strings.Replacer {
	var pairs []string
	for i, address := range addresses {
		host, port, _ := net.SplitHostPort(address)
		suffix := ""
		if i > 0 {
			suffix = strconv.Itoa(i + 1)
		}
		for name, value := range map[string]string{"addr": address, "host": host, "port": port} {
			pairs = append(pairs, fmt.Sprintf("{%s%s}", name, suffix), value)
		}
	}
	return strings.NewReplacer(pairs...)
}

// filledIn returns the texts with placeholders filled in.
func filledIn(texts []string, r *strings.Replacer) []string {
	out := make([]string, len(texts))
	for i, text := range texts {
		out[i] = r.Replace(text)
	}
	return out
}
