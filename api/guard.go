package api

import (
	"net/http"
	"net/netip"
	"strings"
)

// guard keeps web pages away from a permitd that trusts whoever can reach its loopback address. A page that makes a
// browser send requests here gives itself away by an Origin, or, when it had its own name resolve to 127.0.0.1 (DNS
// rebinding), by a Host that is not loopback. The health routes tell nothing and stay open.
func guard(r *http.Request) error {
	if path := r.URL.Path; path == healthPath || path == readyPath {
		return nil
	}
	if !loopbackHost(r.Host) {
		return errForeignHost
	}
	if len(r.Header["Origin"]) > 0 {
		return errOrigin
	}
	return nil
}

var (
	errForeignHost = &problem{
		status: http.StatusForbidden, name: "forbidden", title: "Host is not loopback",
		detail: "permitd runs without tokens and answers only requests addressed to localhost, 127.0.0.0/8 or [::1]: use such an address in the URL",
	}
	errOrigin = &problem{
		status: http.StatusForbidden, name: "forbidden", title: "Request from a web page",
		detail: "permitd runs without tokens and answers no request that carries an Origin header: call it from a program, not from a web page",
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
