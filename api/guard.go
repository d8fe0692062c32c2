package api

import (
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps web pages other than permitd's own away from a permitd that trusts whoever can reach its loopback
// address. A page that makes a browser send requests here gives itself away by an Origin, or, where the browser sends
// none, as with images and links, by Sec-Fetch-Site; or, when it had its own name resolve to 127.0.0.1 (DNS rebinding),
// by a Host that is not loopback. A page at another port of this machine is another's too. The health routes tell
// nothing and stay open.
func guard(r *http.Request) error {
	if path := r.URL.Path; path == healthPath || path == readyPath {
		return nil
	}
	if !loopbackHost(r.Host) {
		return errForeignHost
	}
	for _, origin := range r.Header["Origin"] {
		if origin != originOf(r) {
			return errOtherSite
		}
	}
	for _, from := range r.Header["Sec-Fetch-Site"] {
		if from != "same-origin" && from != "none" { // none: who uses the browser asked, not a page
			return errOtherSite
		}
	}
	return nil
}

// originOf returns the origin of what a request is for, as a browser writes it.
func originOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

var (
	errForeignHost = &problem{
		status: http.StatusForbidden, name: "forbidden", title: "Host is not loopback",
		detail: "permitd runs without tokens and answers only requests addressed to localhost, 127.0.0.0/8 or [::1]: use such an address in the URL",
	}
	errOtherSite = &problem{
		status: http.StatusForbidden, name: "forbidden", title: "Request from another site",
		detail: "permitd runs without tokens and answers no request that comes by way of another site's web page: call it from a program, or enter the address in the browser yourself",
	}
)

// loopbackHost reports whether the value of a Host header, with or without a port, names this machine.
func loopbackHost(host string) bool {
	name := host
	if i := strings.LastIndexByte(host, ':'); i >= 0 && strings.IndexByte(host[i:], ']') < 0 {
		name = host[:i]
	}
	if strings.EqualFold(name, "localhost") {
		return true
	}
	if inner, ok := strings.CutPrefix(name, "["); ok {
		if name, ok = strings.CutSuffix(inner, "]"); !ok {
			return false
		}
	} else if strings.IndexByte(name, ':') >= 0 {
		return false // an IPv6 address needs its brackets
	}
	addr, err := netip.ParseAddr(name)
	return err == nil && addr.Unmap().IsLoopback()
}
