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
	// How many wrong tokens an address may send. A token has 256 random bits, so
	// this protects the database rather than the tokens.
	wrongPerSecond = 5
	wrongAtOnce    = 50

	// How many are remembered. Beyond that, the one that was not seen for longest is
	// forgotten, and starts with a full bucket again.
	maxTokens    = 10_000
	maxAddresses = 10_000
)

// limits keep one caller from using up a server. Each server counts alone, without
// asking the database, so two servers allow twice as much.
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

// mayTry fails with Limited, before the database is asked, when too many wrong tokens
// came from the address of a request. A token that this server accepted before is
// always tried, so that callers behind one proxy do not shut each other out.
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

// addressOf returns the address that a request comes from. For IPv6 that is the
// network, since one host may have all of its addresses.
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
