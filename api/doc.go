// Package api answers HTTP for a [limiter.Coordinator]: routes, strict JSON, problem documents (RFC 9457) and rate limit
// headers (RFC 9651 structured fields). It decides nothing itself.
//
// A request passes, in this order: the access log and recovery from panics; the guard against browsers; its
// token, and whether that one's role reaches the route; the checks of media type, size and JSON; the coordinator. Whatever fails on the way becomes a problem in one place, by one
// table: see problem.go.
//
// The whole of it is described by openapi.yaml, which [Server] also serves; tests hold every answer against it.
package api
