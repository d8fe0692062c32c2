package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strconv"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/permitd/permitd/api"
)

// access is who may use permitd, and from where.
type access struct {
	addr, adminAddr string      // adminAddr may be ""
	tokens          *api.Tokens // nil: whoever reaches it may do everything
	file            *tokenFile  // nil: the tokens were given as they are
	insecure        bool        // which is how it was asked for
	proxies         []netip.Prefix
	list            []api.Token // that it starts with
}

// access checks the settings about it.
func (c *serveCommand) access(given settings, log *slog.Logger) (a access, err error) {
	if a.insecure, err = strconv.ParseBool(string(c.InsecureNoAuth)); err != nil {
		return a, given.bad("insecure-no-auth", string(c.InsecureNoAuth), "must be true or false")
	}
	anywhere := c.Tokens != "" || a.insecure
	if fault := listenFault(c.Addr, anywhere); fault != "" {
		return a, given.bad("addr", c.Addr, fault)
	}
	if fault := listenFault(c.AdminAddr, anywhere); fault != "" && c.AdminAddr != "" {
		return a, given.bad("admin-addr", c.AdminAddr, fault)
	}
	a.addr, a.adminAddr = c.Addr, c.AdminAddr
	if err := a.readTokens(c.Tokens, given, log); err != nil {
		return a, err
	}
	if a.proxies, err = parseProxies(c.TrustedProxies); err != nil {
		return a, given.bad("trusted-proxies", c.TrustedProxies, err.Error())
	}
	return a, nil
}

// reachable reports whether other machines may reach permitd.
func (a access) reachable() bool {
	return !onLoopback(a.addr) || a.adminAddr != "" && !onLoopback(a.adminAddr)
}

// guarded reports whether a listener is closed to web pages: when nothing but its being on loopback protects it.
func (a access) guarded(addr string) bool { return a.tokens == nil && onLoopback(addr) }

// warn tells at the start what is allowed but unwise.
func (a access) warn(log *slog.Logger) {
	switch {
	case a.insecure && a.tokens != nil:
		log.Warn("--insecure-no-auth has no effect, because there are tokens: leave it out")
	case a.insecure:
		log.Warn("running without tokens: whoever reaches permitd may do everything; set --tokens")
	}
	if a.file != nil {
		a.file.warn(log)
	}
	warnOfShort(a.list, log)
}

// readTokens reads the list of tokens, or the file that holds it. The list itself is never repeated.
func (a *access) readTokens(setting string, given settings, log *slog.Logger) (err error) {
	if setting == "" {
		return nil
	}
	if path, ok := strings.CutPrefix(setting, "@"); ok {
		a.file, err = followTokens(path, a.reachable(), log)
		var unread *unreadError
		switch {
		case errors.As(err, &unread):
			return given.bad("tokens", setting, "must be a file that can be read: "+unread.err.Error())
		case err != nil:
			return given.bad("tokens", setting, err.Error())
		}
		a.tokens, a.list = a.file.tokens, a.file.list
		return nil
	}
	a.list, err = parseTokens(setting, a.reachable())
	if err != nil {
		hint := ""
		if !strings.Contains(setting, ":") {
			hint = "; a file is given as @FILE"
		}
		return fmt.Errorf("%s (not shown: it may hold tokens): %w%s", given.name("tokens"), err, hint)
	}
	a.tokens = api.NewTokens(a.list)
	return nil
}

// listenFault says what is wrong with an address to listen on, or "".
func listenFault(addr string, anywhere bool) string {
	if _, fault := splitAddr(addr); fault != "" {
		return fault
	}
	if !anywhere && !onLoopback(addr) {
		return "without tokens permitd listens on loopback only, 127.0.0.1:PORT, [::1]:PORT or localhost:PORT: set --tokens, or --insecure-no-auth to let in whoever reaches it"
	}
	return ""
}

// onLoopback reports whether only this machine reaches an address that permitd listens on.
func onLoopback(addr string) bool {
	host, _ := splitAddr(addr)
	ip, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && ip.Unmap().IsLoopback()
}

// parseProxies reads addresses and CIDRs, separated by commas or white space.
func parseProxies(text string) (proxies []netip.Prefix, err error) {
	for _, entry := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		p, err := netip.ParsePrefix(entry)
		if ip, notIP := netip.ParseAddr(entry); notIP == nil {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			return nil, fmt.Errorf("must be addresses or CIDRs separated by commas, such as 10.0.0.0/8,192.0.2.7, and %q is neither", entry)
		}
		proxies = append(proxies, p)
	}
	return proxies, nil
}

// toggle is a flag that needs no value, checked like every other setting.
type toggle string

// Decode reads it for kong.
func (t *toggle) Decode(ctx *kong.DecodeContext) error {
	*t = "true"
	if ctx.Scan.Peek().Type == kong.FlagValueToken {
		*t = toggle(ctx.Scan.Pop().String())
	}
	return nil
}

// IsBool says that it needs no value.
func (*toggle) IsBool() bool { return true }
