package api

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is when the tests' clock stands: 2026-11-23, 12:00:00 UTC.
const noon = limiter.Instant(1795435200_000000)

// newTestServer is a ready server over an embedded store with policies by provider, guarded as on loopback. The store's
// clock stands still.
func newTestServer(t testing.TB, policies map[string]string) (*Server, *memstore.Store) {
	t.Helper()
	store := memstore.New(memstore.Options{Clock: func() limiter.Instant { return noon }})
	c := limiter.New(store)
	for provider, doc := range policies {
		seed(t, c, limiter.ProviderDocs{Provider: provider, Policy: parsePolicy(t, doc)})
	}
	s := New(c, Options{LoopbackOnly: true})
	s.MarkReady()
	return s, store
}

func parsePolicy(t testing.TB, doc string) *limiter.Policy {
	t.Helper()
	p, err := limiter.ParsePolicy([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func seed(t testing.TB, c *limiter.Coordinator, docs limiter.ProviderDocs) {
	t.Helper()
	if _, err := c.Seed(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

// remote is a server reached over a real connection.
type remote struct {
	t      *testing.T
	server *Server
	url    string
	client *http.Client
}

// serve has s serve on a port of its own until the test ends.
func serve(t *testing.T, s *Server) *remote {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Error("Serve:", err)
		}
	})
	return &remote{t, s, "http://" + l.Addr().String(), &http.Client{Transport: transport}}
}

// answer is a response that was read whole.
type answer struct {
	status int
	header http.Header
	text   string
}

// do sends a request, and returns the answer less the newline that ends JSON. Headers are "Name: value"; an empty value takes the header away, and Host sets the host.
func (r *remote) do(method, path, body string, headers ...string) answer {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), method, r.url+path, strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		switch {
		case name == "Host":
			req.Host = value
		case value == "":
			req.Header.Del(strings.TrimSuffix(name, ":"))
		default:
			req.Header.Set(name, value)
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	got := answer{resp.StatusCode, resp.Header, string(text)}
	conform(r.t, r.server, req, body, got)
	if strings.Contains(resp.Header.Get("Content-Type"), "json") && method != http.MethodHead {
		got.text = strings.TrimSuffix(got.text, "\n")
	}
	return got
}

func (r *remote) permit(body string, headers ...string) answer {
	r.t.Helper()
	return r.do(http.MethodPost, "/v1/permits", body, headers...)
}

// problemDoc is a problem document as a client reads it.
type problemDoc struct {
	Type   string
	Title  string
	Status int
	Detail string
	Errors []limiter.Fault
}

// problem checks that an answer is a problem document of the given kind and returns it.
func (a answer) problem(t *testing.T, status int, name string) problemDoc {
	t.Helper()
	var p problemDoc
	decode(t, a.text, &p)
	if a.status != status || p.Status != status || !strings.HasSuffix(p.Type, ":"+name) {
		t.Errorf("status %d, problem %q of status %d; want %d %s\n%s", a.status, p.Type, p.Status, status, name, a.text)
	}
	if got := a.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("Content-Type %q", got)
	}
	if p.Title == "" || p.Detail == "" {
		t.Errorf("title %q, detail %q", p.Title, p.Detail)
	}
	return p
}

// pointers are where the faults of a problem are, in order.
func (p problemDoc) pointers() string {
	var at []string
	for _, f := range p.Errors {
		at = append(at, f.Pointer)
	}
	return strings.Join(at, " ")
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
}

// shape is a JSON value with every leaf replaced by its type and members in order, to compare structure.
func shape(t *testing.T, text string) string {
	t.Helper()
	var out strings.Builder
	dec := json.NewDecoder(strings.NewReader(text))
	var value func()
	value = func() {
		tok, err := dec.Token()
		if err != nil {
			t.Fatalf("%v in %q", err, text)
		}
		switch tok := tok.(type) {
		case json.Delim:
			out.WriteString(tok.String())
			for first := true; dec.More(); first = false {
				if !first {
					out.WriteByte(' ')
				}
				if tok == '{' {
					name, _ := dec.Token()
					out.WriteString(name.(string) + ":")
				}
				value()
			}
			end, _ := dec.Token()
			out.WriteString(end.(json.Delim).String())
		case nil:
			out.WriteString("null")
		case bool:
			out.WriteString("bool")
		case float64:
			out.WriteString("number")
		default:
			out.WriteString("string")
		}
	}
	value()
	return out.String()
}

// eventually polls until what is true.
func eventually(t *testing.T, what func() bool) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !what() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("did not happen in time")
		}
	}
}
