package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// remoteFlags say which permitd a command speaks to, and as whom.
type remoteFlags struct {
	Addr    string `env:"PERMITD_ADMIN_ADDR,PERMITD_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where permitd listens for all but permits."`
	URL     string `name:"url" placeholder:"URL" help:"The URL of permitd instead, such as https://permitd.internal."`
	TLSCert string `name:"tls-cert" env:"PERMITD_TLS_CERT" placeholder:"FILE" help:"The certificate that permitd was given; makes this speak HTTPS to --addr, and trust it."`
	Token   string `env:"PERMITD_TOKEN" placeholder:"TOKEN" help:"The token to show to permitd, without role and name, or @PATH, which keeps it out of the process list."`
}

// remote is a running permitd, as a command speaks to it.
type remote struct {
	base      string // URL, without a slash at its end
	token     string
	role      string // that a token needs, for messages
	tokenFlag string // how the token was given, for messages
	http      *http.Client
}

const (
	requestTimeout = 40 * time.Second // permitd itself answers within 30 s or not at all
	maxTries       = 4
	longestWait    = 30 * time.Second // for a Retry-After
	maxAnswer      = 128 << 20        // bytes; a page of 1000 entries is at most 64 MB
)

// open checks the flags. The remote is to be closed.
func (f *remoteFlags) open(given settings, role string) (*remote, error) {
	r := &remote{role: role, tokenFlag: given.name("token")}
	var err error
	if r.base, err = f.base(given); err != nil {
		return nil, err
	}
	if r.token, err = f.token(given); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if f.TLSCert != "" {
		if transport.TLSClientConfig, err = trusting(f.TLSCert); err != nil {
			return nil, given.bad("tls-cert", f.TLSCert, "must be a PEM file of certificates: "+err.Error())
		}
	}
	r.http = &http.Client{
		Transport:     transport,
		Timeout:       requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }, // a token is for one place
	}
	return r, nil
}

func (r *remote) close() { r.http.CloseIdleConnections() }

func (f *remoteFlags) base(given settings) (string, error) {
	if f.URL == "" {
		return baseURL(f.Addr, f.TLSCert != "", given)
	}
	u, err := url.Parse(f.URL)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		shown := f.URL
		if strings.Contains(shown, "@") {
			shown = "(not shown: it may hold a password)"
		}
		return "", given.bad("url", shown, "must be a URL such as http://127.0.0.1:8080, without user, query and fragment")
	}
	return strings.TrimRight(u.String(), "/"), nil
}

// bearerToken is what a header can carry as a token.
var bearerToken = regexp.MustCompile(`^[!-~]+$`)

// token is the token itself. It is not repeated, whatever is wrong with it.
func (f *remoteFlags) token(given settings) (string, error) {
	token := f.Token
	if path, ok := strings.CutPrefix(token, "@"); ok {
		text, err := os.ReadFile(path)
		if err != nil {
			return "", given.bad("token", f.Token, "must be a token, or @ and a file that can be read: "+reason(err).Error())
		}
		token = strings.TrimSpace(string(text))
		if !bearerToken.MatchString(token) {
			return "", given.bad("token", f.Token, "the file must hold one token, without spaces, and nothing else")
		}
	}
	if token != "" && !bearerToken.MatchString(token) {
		return "", fmt.Errorf("%s (not shown): must be a token, without spaces, or @PATH", given.name("token"))
	}
	return token, nil
}

// answer is what permitd answered.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// get asks for a path below the base.
func (r *remote) get(ctx context.Context, path string) (*answer, error) {
	return r.do(ctx, http.MethodGet, path, nil, nil)
}

// do sends a request, and sends it again, a few times, when it is to be sent later.
func (r *remote) do(ctx context.Context, method, path string, header http.Header, body []byte) (*answer, error) {
	for try := 1; ; try++ {
		a, err := r.once(ctx, method, path, header, body)
		if err != nil {
			return nil, err
		}
		wait, later := a.retryAfter()
		if !later || wait > longestWait || try == maxTries {
			return a, nil
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return nil, errInterrupted
		}
	}
}

var errInterrupted = errors.New("interrupted")

// retryAfter is when a request that was not answered may be sent again.
func (a *answer) retryAfter() (wait time.Duration, later bool) {
	if a.status != http.StatusTooManyRequests && a.status != http.StatusServiceUnavailable {
		return 0, false
	}
	seconds, err := strconv.ParseUint(a.header.Get("Retry-After"), 10, 31)
	return time.Duration(seconds) * time.Second, err == nil
}

func (r *remote) once(ctx context.Context, method, path string, header http.Header, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return nil, r.unreached(ctx, err)
	}
	defer resp.Body.Close()
	a := &answer{status: resp.StatusCode, header: resp.Header}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer)); err != nil {
		return nil, r.unreached(ctx, err)
	}
	return a, nil
}
