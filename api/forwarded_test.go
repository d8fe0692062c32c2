package api

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// forwardedTests are chains from the peer 127.0.0.1, and who is the client then.
var forwardedTests = []struct {
	name    string
	proxies string
	headers []string // one "Name: value" for each line
	want    string
}{
	{"no proxies", "", []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=203.0.113.7"}, "127.0.0.1"},
	{"other proxies", "10.0.0.0/8 127.0.0.2/32", []string{"X-Forwarded-For: 203.0.113.7"}, "127.0.0.1"},
	{"no header", "127.0.0.1/8", []string{"X-Real-IP: 192.0.2.1", "Client-IP: 192.0.2.1"}, "127.0.0.1"},
	{"one address", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7"}, "203.0.113.7"},
	{"a prefix of mapped addresses", "::ffff:127.0.0.0/104", []string{"X-Forwarded-For: 203.0.113.7"}, "203.0.113.7"},
	{"what the client sent stands before", "127.0.0.1/8", []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
	{"in a line of its own", "127.0.0.1/8", []string{"X-Forwarded-For: 198.51.100.1", "X-Forwarded-For: 203.0.113.7"}, "203.0.113.7"},
	{"private is not trusted by itself", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7, 10.1.1.1"}, "10.1.1.1"},
	{"nor link-local", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7, 169.254.0.1"}, "169.254.0.1"},
	{"two proxies", "127.0.0.1/8 10.0.0.0/8", []string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7, 10.1.1.1"}, "203.0.113.7"},
	{"two proxies, in lines", "127.0.0.1/8 10.0.0.0/8", []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 10.1.1.1"}, "203.0.113.7"},
	{"nobody but proxies", "127.0.0.1/8 10.0.0.0/8", []string{"X-Forwarded-For: 10.1.1.2, 10.1.1.1"}, "10.1.1.2"},
	{"empty entries", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7, ,", "X-Forwarded-For: ,"}, "203.0.113.7"},

	{"a port", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7:51234"}, "203.0.113.7"},
	{"IPv6", "127.0.0.1/8", []string{"X-Forwarded-For: 2001:db8:1:2:3:4:5:6"}, "2001:db8:1:2::/64"},
	{"IPv6 in brackets", "127.0.0.1/8", []string{"X-Forwarded-For: [2001:db8::1]"}, "2001:db8::/64"},
	{"IPv6 and a port", "127.0.0.1/8", []string{"X-Forwarded-For: [2001:db8::1]:443"}, "2001:db8::/64"},
	{"a zone", "127.0.0.1/8", []string{"X-Forwarded-For: fe80::1%eth0"}, "fe80::/64"},
	{"a zone and a port", "127.0.0.1/8", []string{"X-Forwarded-For: [fe80::1%eth0]:443"}, "fe80::/64"},
	{"mapped", "127.0.0.1/8", []string{"X-Forwarded-For: ::ffff:203.0.113.7"}, "203.0.113.7"},
	{"mapped and a port", "127.0.0.1/8", []string{"X-Forwarded-For: [::ffff:203.0.113.7]:80"}, "203.0.113.7"},
	{"a mixed chain", "127.0.0.1/8 10.0.0.0/8 2001:db8:f::/48 fe80::/10",
		[]string{"X-Forwarded-For: 198.51.100.1, 203.0.113.7:51234, [2001:db8:f::1]:443", "X-Forwarded-For: [fe80::1%eth0]:1,::ffff:10.1.1.1,10.1.1.2:80"}, "203.0.113.7"},

	{"no address behind an address", "127.0.0.1/8", []string{"X-Forwarded-For: nonsense, 203.0.113.7"}, "203.0.113.7"},
	{"no address", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7, nonsense"}, "127.0.0.1"},
	{"a proxy that hides its clients", "127.0.0.1/8 10.0.0.0/8", []string{"X-Forwarded-For: 203.0.113.7, unknown, 10.1.1.1"}, "10.1.1.1"},
	{"octal", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.07"}, "127.0.0.1"},
	{"a long port", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7:123456"}, "127.0.0.1"},
	{"an open bracket", "127.0.0.1/8", []string{"X-Forwarded-For: [2001:db8::1"}, "127.0.0.1"},
	{"IPv4 in brackets", "127.0.0.1/8", []string{"X-Forwarded-For: [203.0.113.7]"}, "127.0.0.1"},

	{"Forwarded", "127.0.0.1/8", []string{"Forwarded: for=203.0.113.7"}, "203.0.113.7"},
	{"Forwarded with all there is", "127.0.0.1/8", []string{`Forwarded: For="[2001:db8::1]:443" ; proto=https;host="a,b;for=\"x\\\""; by=_lb`}, "2001:db8::/64"},
	{"Forwarded with a hidden port", "127.0.0.1/8", []string{`Forwarded: for="203.0.113.7:_http"`}, "203.0.113.7"},
	{"Forwarded without quotes", "127.0.0.1/8", []string{`Forwarded: for=[2001:db8::1]:443;proto=https`}, "2001:db8::/64"},
	{"a chain in Forwarded", "127.0.0.1/8 10.0.0.0/8", []string{`Forwarded: for=198.51.100.1,for="203.0.113.7:51234";proto=http`, "Forwarded: , for=10.1.1.1,"}, "203.0.113.7"},
	{"hidden in Forwarded", "127.0.0.1/8 10.0.0.0/8", []string{"Forwarded: for=203.0.113.7, for=_hidden, for=10.1.1.1"}, "10.1.1.1"},
	{"unknown in Forwarded", "127.0.0.1/8", []string{"Forwarded: for=203.0.113.7, for=unknown"}, "127.0.0.1"},
	{"an element without for", "127.0.0.1/8", []string{"Forwarded: for=203.0.113.7, proto=https"}, "127.0.0.1"},
	{"a quote of the client's", "127.0.0.1/8", []string{`Forwarded: for=198.51.100.1;x=", for=203.0.113.7`}, "127.0.0.1"},
	{"and one of the proxy's", "127.0.0.1/8", []string{`Forwarded: for=198.51.100.1;x=", for="[2001:db8::1]"`}, "127.0.0.1"},
	{"an escape at the end", "127.0.0.1/8", []string{`Forwarded: for="203.0.113.7\`}, "127.0.0.1"},
	{"for twice", "127.0.0.1/8", []string{"Forwarded: for=203.0.113.7;for=203.0.113.8"}, "127.0.0.1"},
	{"malformed before the last line", "127.0.0.1/8", []string{`Forwarded: for="`, "Forwarded: for=203.0.113.7"}, "203.0.113.7"},
	{"no value", "127.0.0.1/8", []string{"Forwarded: for=;proto=http"}, "127.0.0.1"},
	{"no parameter", "127.0.0.1/8", []string{"Forwarded: 203.0.113.7"}, "127.0.0.1"},

	{"both, and they agree", "127.0.0.1/8 10.0.0.0/8", []string{"X-Forwarded-For: 203.0.113.7:1, 10.1.1.1", `Forwarded: for=203.0.113.7`}, "203.0.113.7"},
	{"both, and one is forged", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for=198.51.100.1"}, "127.0.0.1"},
	{"both, and one is malformed", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7", "Forwarded: for"}, "127.0.0.1"},
	{"both, and one is empty", "127.0.0.1/8", []string{"X-Forwarded-For: 203.0.113.7", "Forwarded:"}, "203.0.113.7"},
}

// TestForwarded: addresses are believed from trusted proxies only, and of those only the one that the nearest of them
// saw.
func TestForwarded(t *testing.T) {
	for _, tt := range forwardedTests {
		var proxies []netip.Prefix
		for p := range strings.FieldsSeq(tt.proxies) {
			proxies = append(proxies, netip.MustParsePrefix(p))
		}
		throttle := &countingThrottle{clients: make(chan string, 1)}
		s := newTokenServer(t, Options{Throttle: throttle, TrustedProxies: proxies})
		r, _ := http.NewRequestWithContext(t.Context(), "GET", "/v1/providers", nil)
		r.RemoteAddr = "127.0.0.1:40000"
		r.Header.Set("Authorization", "Bearer unknown")
		for _, h := range tt.headers {
			name, value, _ := strings.Cut(h, ":")
			r.Header.Add(name, strings.TrimSpace(value))
		}
		s.ServeHTTP(&discard{header: http.Header{}}, r)
		if seen := throttle.seen(); !slices.Equal(seen, []string{tt.want}) {
			t.Errorf("%s: %v, want %s", tt.name, seen, tt.want)
		}
	}
}

// TestPeers: what is at the other end of a connection.
func TestPeers(t *testing.T) {
	find := clientIP([]netip.Prefix{netip.MustParsePrefix("fe80::/10"), netip.MustParsePrefix("127.0.0.1/32")})
	for remote, want := range map[string]string{
		"203.0.113.7:1": "203.0.113.7", "[2001:db8::1]:1": "2001:db8::1", "[::ffff:127.0.0.1]:1": "192.0.2.1", "[fe80::1%eth0]:1": "192.0.2.1",
		"@": "", "": "", "/run/permitd.sock": "",
	} {
		r := &http.Request{RemoteAddr: remote, Header: http.Header{"X-Forwarded-For": {"192.0.2.1"}}}
		if got := find(r); got != want {
			t.Errorf("%q: %q, want %q", remote, got, want)
		}
	}
}

// FuzzForwarded: whatever a client sends before it, the address that the proxy appends in a line of its own is found;
// in the same line it is found, or the line is not believed.
func FuzzForwarded(f *testing.F) {
	for _, forged := range []string{"for=1.2.3.4", `for="`, `for=1.2.3.4;x="`, `for="\`, ",,;;", "for=1.2.3.4, for=[::1]:5", "1.2.3.4:5"} {
		f.Add(forged)
	}
	peer := netip.MustParseAddr("127.0.0.1")
	proxy := netip.MustParseAddr("203.0.113.7")
	f.Fuzz(func(t *testing.T, forged string) {
		for name, lines := range map[string][]string{
			"in a line of its own": {forged, "for=203.0.113.7"}, "in one line": {forged + ", for=203.0.113.7"},
		} {
			ip, ok := prefixes(nil).client(peer, nearestOfForwarded(lines))
			if !ok || ip != proxy && (ip != peer || len(lines) == 2) {
				t.Errorf("%s: %q is %v", name, forged, ip)
			}
		}
		if ip, _ := prefixes(nil).client(peer, nearestOfXFF([]string{forged + ", 203.0.113.7"})); ip != proxy {
			t.Errorf("X-Forwarded-For %q is %v", forged, ip)
		}
	})
}
