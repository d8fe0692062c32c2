package api

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
)

// Throttle counts failed logins by the client that they come from.
type Throttle interface {
	// Failed notes that a client presented a token that is not known. It returns how long the client has to wait before
	// the next is looked into, 0 if it need not. It answers soon, whatever it counts with.
	Failed(ctx context.Context, client string) time.Duration
}

// clientIP finds out who made a request. That is the peer of the connection, or, where the peer is one of these
// proxies, whom X-Forwarded-For or Forwarded (RFC 7239) name: of the addresses there the nearest that is not such a
// proxy itself. A proxy adds to one of the headers and may pass on the other as it came from the client, so where there
// are both they have to agree, or else neither is believed. Nothing else in a request is.
func clientIP(proxies []netip.Prefix) echo.IPExtractor {
	trusted := make(prefixes, len(proxies))
	for i, p := range proxies {
		trusted[i] = unmapped(p)
	}
	return func(r *http.Request) string {
		peer, ok := peerOf(r)
		if !ok {
			return ""
		}
		if !trusted.contain(peer) {
			return peer.String()
		}
		client, known := trusted.client(peer, nearestOfXFF(r.Header["X-Forwarded-For"]))
		other, alsoKnown := trusted.client(peer, nearestOfForwarded(r.Header["Forwarded"]))
		switch {
		case !alsoKnown:
			return client.String()
		case !known || client == other:
			return other.String()
		}
		return peer.String()
	}
}

// peerOf returns the address at the other end of the connection. ok is false where that has none.
func peerOf(r *http.Request) (peer netip.Addr, ok bool) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return peer, false
	}
	return parseAddr(host)
}

// parseAddr reads an IP address. An IPv4 address that is written as IPv6 becomes plain, and a zone, which means nothing
// elsewhere, is dropped.
func parseAddr(s string) (ip netip.Addr, ok bool) {
	ip, err := netip.ParseAddr(s)
	return ip.Unmap().WithZone(""), err == nil
}

// prefixes are those of trusted proxies, see [unmapped].
type prefixes []netip.Prefix

func (t prefixes) contain(ip netip.Addr) bool {
	for _, p := range t {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// unmapped returns a prefix such that it contains what [parseAddr] makes of the addresses in p.
func unmapped(p netip.Prefix) netip.Prefix {
	const mapped = 96 // bits of ::ffff:0:0
	if p.Addr().Is4In6() && p.Bits() >= mapped {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mapped)
	}
	return p
}

// client follows a chain of forwarded addresses, the nearest first, from a trusted peer to the first that is no trusted
// proxy. Where the chain ends before, or goes on with what is no address, it is the last proxy that is known: its
// clients can't be told apart. ok is false where there is no chain.
func (t prefixes) client(peer netip.Addr, chain func(yield func(node string) bool)) (client netip.Addr, ok bool) {
	client = peer
	for node := range chain {
		ok = true
		ip, valid := parseNode(node)
		if !valid {
			break
		}
		if client = ip; !t.contain(ip) {
			break
		}
	}
	return client, ok
}

// clientOf returns the name under which the failures of an address are counted. Who has one IPv6 address usually has
// all of its /64, so these count as one.
func clientOf(address string) string {
	ip, ok := parseAddr(address)
	if !ok {
		return "unknown"
	}
	if ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64) // of an IPv6 address
	return network.String()
}
