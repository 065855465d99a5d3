package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"workspace-server/internal/ratelimit"
	"workspace-server/internal/workspace"
)

const (
	// Wrong tokens that an address may send. A token has 256 random bits, so
	// what this protects is not the tokens but the database.
	wrongPerSecond = 5
	wrongAtOnce    = 50

	// How many are remembered. Of more, the one that was there longest ago
	// gets a full bucket again.
	maxTokens    = 10_000
	maxAddresses = 10_000
)

// limits keep one caller from taking all of a server. Each server counts for
// itself, so that counting asks nobody, and two servers allow twice as much.
type limits struct {
	tokens    *ratelimit.Limiter // requests, by the token's hash
	addresses *ratelimit.Limiter // wrong tokens, by the remote address
}

// newLimits returns no limits if perSecond is 0.
func newLimits(perSecond int, now func() time.Time) limits {
	wrong := min(perSecond, wrongPerSecond)
	return limits{
		tokens:    ratelimit.New(float64(perSecond), float64(2*perSecond), maxTokens, now),
		addresses: ratelimit.New(float64(wrong), wrongAtOnce, maxAddresses, now),
	}
}

// mayTry fails with Limited when too many wrong tokens came from the address of
// a request: it is refused before the database is asked. A token that this
// server has let in before may always be tried, so that whoever shares an
// address with others, behind a proxy, is not shut out by them.
func (l limits) mayTry(r *http.Request, hash string) error {
	if l.tokens.Known(hash) {
		return nil
	}
	if wait := l.addresses.Wait(addressOf(r)); wait > 0 {
		return limited("Too many wrong tokens came from your address.", wait)
	}
	return nil
}

// failed counts a wrong token.
func (l limits) failed(r *http.Request, hash string) {
	l.tokens.Forget(hash)
	l.addresses.Take(addressOf(r))
}

// count counts a request of a caller. It fails with Limited.
func (l limits) count(c caller) error {
	if wait := l.tokens.Take(c.hash); wait > 0 {
		return limited("This token has sent too many requests.", wait)
	}
	return nil
}

func limited(what string, wait time.Duration) error {
	seconds := int64((wait + time.Second - 1) / time.Second)
	return &problem{
		Kind:       workspace.Limited,
		Detail:     fmt.Sprintf("%s Try again in %d s.", what, seconds),
		retryAfter: strconv.FormatInt(seconds, 10),
	}
}

// addressOf returns where a request comes from. Of IPv6 it is the network, all
// of whose addresses one host may have.
func addressOf(r *http.Request) string {
	from, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	addr := from.Addr().Unmap().WithZone("")
	if addr.Is4() {
		return addr.String()
	}
	network, _ := addr.Prefix(64) // fails on no IPv6 address
	return network.String()
}
