package api

import (
	"context"
	"net"
	"net/netip"
	"time"

	"github.com/labstack/echo/v4"
)

// Throttle counts failed logins by the client that they come from.
type Throttle interface {
	// Failed notes that a client presented a token that is not known. It returns how long the client has to wait before the
	// next is looked into, 0 if it need not. It answers soon, whatever it counts with.
	Failed(ctx context.Context, client string) time.Duration
}

// clientIP finds out who made a request: the peer of the connection, or, where that is one of these proxies, whom the
// nearest entry of X-Forwarded-For names that is not such a proxy itself. Nothing else in a request is believed.
func clientIP(proxies []netip.Prefix) echo.IPExtractor {
	if len(proxies) == 0 {
		return echo.ExtractIPDirect()
	}
	trust := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, p := range proxies {
		p = p.Masked()
		trust = append(trust, echo.TrustIPRange(&net.IPNet{
			IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(trust...)
}

// clientOf is under which name the failures of an address are counted. Who has one IPv6 address usually has all of its
// /64, so these count as one.
func clientOf(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	if ip = ip.Unmap().WithZone(""); ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64) // of an IPv6 address
	return network.String()
}
