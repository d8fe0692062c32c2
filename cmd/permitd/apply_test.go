package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// Ids of keys, in order.
var key1, key2 = limiter.KeyID(rawKeys[0]), limiter.KeyID(rawKeys[1])

const emptyPolicies = "providers: {}\n"

// front stands between a command and a permitd, and may answer in its stead.
type front struct {
	*httptest.Server
	mu       sync.Mutex
	requests []string // method and path
	on       func(w http.ResponseWriter, r *http.Request, n int) (answered bool)
}

// newFront passes requests on to an instance unless on answers the nth of the same method and path, from 1.
func newFront(t *testing.T, i *instance, on func(w http.ResponseWriter, r *http.Request, n int) (answered bool)) *front {
	t.Helper()
	target, _ := url.Parse(i.url)
	proxy := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: i.client.Transport,
	}
	f := &front{on: on}
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := r.Method + " " + r.URL.Path
		f.mu.Lock()
		n := 1
		for _, before := range f.requests {
			if before == line {
				n++
			}
		}
		f.requests = append(f.requests, line)
		f.mu.Unlock()
		if f.on == nil || !f.on(w, r, n) {
			proxy.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

// writes are the requests that were not for reading.
func (f *front) writes() (lines []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, line := range f.requests {
		if !strings.HasPrefix(line, "GET ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// send makes a request of an operator who uses no command.
func (i *instance) send(method, path, body string) (status int, text string) {
	i.t.Helper()
	req, _ := http.NewRequest(method, i.url+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/json")
	resp, err := i.client.Do(req)
	if err != nil {
		i.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		i.t.Fatal(err)
	}
	return resp.StatusCode, string(answer)
}

// applied runs apply and checks its exit code and both of its outputs. FILE stands for the file.
func applied(t *testing.T, url, path string, code int, stdout, stderr string, flags ...string) {
	t.Helper()
	gotCode, gotOut, gotErr := call(t, "", append([]string{"apply", "--url", url, path}, flags...)...)
	fill := strings.NewReplacer("FILE", path, "URL", url).Replace
	if gotCode != code || gotOut != fill(stdout) || gotErr != fill(stderr) {
		t.Errorf("exit %d, want %d\nstdout\n%swant\n%sstderr\n%swant\n%s", gotCode, code, gotOut, fill(stdout), gotErr, fill(stderr))
	}
}

const nothing = "nothing to change: permitd is as FILE says\n"

func limits(rpm string) string {
	return "    limits:\n      rpm: " + rpm + "\n      day: {scope: pool, kind: quota, amount: 10, per: day}\n"
}

// TestApply: what is not there is created, what differs is changed, the rest is left alone, and a second run finds
// nothing to do.
func TestApply(t *testing.T) {
	i := start(t, "--policies", file(t, "empty.yaml", emptyPolicies))
	first := file(t, "p.yaml", "providers:\n  a:\n    unknown_keys: deny\n"+limits("{scope: key, kind: quota, amount: 5, per: day}")+
		"    pools: {acme: {limits: {day: {amount: 3}}}}\n    keys: {"+key1+": {pool: acme}, "+key2+": {disabled: true}}\n  b: {limits: {}}\n")
	created := "a: policy created (revision 1)\na: pool acme created\na: key " + key1 + " created\na: key " + key2 + " created\n" +
		"b: policy created (revision 1)\n5 changes made\n"
	planned := strings.NewReplacer(" created", " would be created", " (revision 1)", "", "changes made", "changes would be made").Replace(created)
	applied(t, i.url, first, 0, planned, "", "--dry-run")
	if _, text, _ := i.get("/v1/providers"); text != `{"items":[],"next_cursor":null}`+"\n" {
		t.Errorf("a dry run left %s", text)
	}
	applied(t, i.url, first, 0, created, "")
	applied(t, i.url, first, 0, nothing, "")
	applied(t, i.url, first, 0, nothing, "", "--dry-run")

	// the same in other words
	same := file(t, "p.yaml", "providers:\n  b: {limits: {}}\n  a:\n"+limits("{amount: 5, per: day, kind: quota, scope: key}")+
		"    unknown_keys: deny\n    keys: {"+key2+": {disabled: true}, "+key1+": {pool: acme}}\n    pools: {acme: {limits: {day: {amount: 3}}}}\n")
	applied(t, i.url, same, 0, nothing, "")

	// less, and something new: a counter that means something else starts afresh
	changed := file(t, "p.yaml", "providers:\n  a:\n    unknown_keys: deny\n"+limits("{scope: key, kind: quota, amount: 5, per: hour}")+
		"    keys: {"+key1+": {pool: acme, label: one}}\n")
	left := "b is not in the file and stays as it is\na: 1 pool is not in the file and stays as it is\na: 1 key is not in the file and stays as it is\n"
	applied(t, i.url, changed, 0, left+"a: policy would be changed; would start afresh: rpm\na: key "+key1+" would be changed\n2 changes would be made\n", "", "--dry-run")
	applied(t, i.url, changed, 0, left+"a: policy changed (revision 2); started afresh: rpm\na: key "+key1+" changed\n2 changes made\n", "", "--note", "halved & more")
	applied(t, i.url, changed, 0, left+nothing, "")
	if _, text, _ := i.get("/v1/providers/a/history"); !strings.Contains(text, `"note":"halved & more"`) {
		t.Errorf("history %s", text)
	}
	if status, text, _ := i.get("/v1/providers/a/keys/" + key2); status != 200 || !strings.Contains(text, `"entry":{"disabled":true}`) {
		t.Errorf("the key that the file has no more: %d %s", status, text)
	}
}

// TestApplyKeepsKeys: a file without keys deletes none, and does not read them all to say so.
func TestApplyKeepsKeys(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", "providers: {a: {limits: {}}}\n"))
	registerKeys(i, "a", 1001)
	f := newFront(t, i, nil)
	applied(t, f.URL, file(t, "p.yaml", "providers: {a: {hold_ttl: 1m, limits: {}}}\n"), 0,
		"a: at least 1000 keys are not in the file and stay as they are\na: policy changed (revision 2)\n1 change made\n", "")
	if writes := f.writes(); len(writes) != 1 {
		t.Errorf("wrote %q", writes)
	}
	if n := strings.Count(strings.Join(f.requests, "\n"), "/keys"); n != 1 {
		t.Errorf("asked for keys %d times", n)
	}
}

// registerKeys creates entries from raw keys.
func registerKeys(i *instance, provider string, n int) {
	i.t.Helper()
	for from := 0; from < n; from += 1000 {
		var keys []map[string]string
		for k := from; k < min(n, from+1000); k++ {
			keys = append(keys, map[string]string{"key": fmt.Sprint("sk-many-", k)})
		}
		body, _ := json.Marshal(keys)
		if status, text := i.send("POST", "/v1/providers/"+provider+"/keys", string(body)); status/100 != 2 {
			i.t.Fatalf("%d %s", status, text)
		}
	}
}
