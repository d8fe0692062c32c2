package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const togglePolicies = `providers:
  p:
    on_store_failure: deny
    limits:
      day:   {scope: provider, kind: quota, amount: 1000000000, per: day}
      acct:  {scope: pool, kind: rate, amount: 1000000000, per: 1m}
      one:   {scope: key, kind: rate, amount: 1000000000, per: 1m}
      two:   {scope: key, kind: rate, amount: 1000000000, per: 1m}
      three: {scope: key, kind: rate, amount: 1000000000, per: 1m}
`

// span is a time in which nothing of something may be granted: from when the answer to a write was there, to when the
// next was sent.
type span struct{ from, to time.Time }

// toggling is what writers did while clients asked, and what those got.
type toggling struct {
	*testing.T
	instances []*instance
	client    *http.Client

	mu     sync.Mutex
	writes []writtenRevision
	shut   map[string][]span // by key id; "" for all
	grants []toggledGrant
	errors []string // 5xx
}

type writtenRevision struct {
	at       time.Time // its answer was there
	revision int64
}

type toggledGrant struct {
	sent, answered time.Time
	key            string
	revision       int64
}

// write sends a write to one of the instances until it is made, and returns when the last was sent.
func (g *toggling) write(on int, method, path, body string) (sent, answered time.Time, revision int64) {
	media := "application/json"
	if method == http.MethodPatch {
		media = "application/merge-patch+json"
	}
	sent = time.Now()
	req, err := http.NewRequest(method, g.instances[on%len(g.instances)].url+path, strings.NewReader(body))
	if err != nil {
		g.Error(err)
		return
	}
	req.Header.Set("Content-Type", media)
	resp, err := g.client.Do(req)
	if err != nil {
		g.Error(err)
		return
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusServiceUnavailable { // made or not: the same again does no harm
		g.mu.Lock()
		g.errors = append(g.errors, method+" "+path+": "+resp.Status)
		g.mu.Unlock()
		return g.write(on, method, path, body)
	}
	var answer struct{ Revision int64 }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode >= 300 {
		g.Errorf("%s %s: %s, %v", method, path, resp.Status, err)
	}
	return sent, time.Now(), answer.Revision
}

// patch patches the policy.
func (g *toggling) patch(on int, limit string, amount int) (sent, answered time.Time) {
	body := fmt.Sprintf(`{"limits":{%q:{"amount":%d}}}`, limit, amount)
	sent, answered, revision := g.write(on, http.MethodPatch, "/v1/providers/p", body)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.writes = append(g.writes, writtenRevision{answered, revision})
	return sent, answered
}

func (g *toggling) shutting(id string, from, to time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut[id] = append(g.shut[id], span{from, to})
}

// ask asks as one client until stop is closed.
func (g *toggling) ask(n int, stop chan struct{}) {
	key := fmt.Sprintf("sk-%d", n%4)
	for turn := n; ; turn++ {
		select {
		case <-stop:
			return
		default:
		}
		grant := toggledGrant{sent: time.Now(), key: limiter.KeyID(key)}
		status, text, err := post(g.client, g.instances[turn%len(g.instances)].url+"/v1/permits", `{"provider":"p","key":"`+key+`"}`)
		grant.answered = time.Now()
		var answer struct{ Revision int64 }
		if err == nil {
			err = json.Unmarshal([]byte(text), &answer)
		}
		grant.revision = answer.Revision
		g.mu.Lock()
		switch {
		case err != nil:
			g.Error(err)
		case status >= 500:
			g.errors = append(g.errors, text)
		case status == http.StatusOK:
			g.grants = append(g.grants, grant)
		}
		g.mu.Unlock()
		if status != http.StatusOK {
			time.Sleep(time.Duration(1+turn%4) * time.Millisecond) // as clients do, if for longer: the machine is for others too
		}
	}
}

// TestToggled tunes limits, keys and a pool over all of four instances while clients ask: TOGGLES times (default 40)
// a limit goes from roomy to one a day and back. What was granted is held against what had been written by then.
func TestToggled(t *testing.T) {
	toggles, long := 40, os.Getenv("TOGGLES")
	if long != "" {
		toggles, _ = strconv.Atoi(long)
	}
	transport := &http.Transport{MaxIdleConnsPerHost: swarm}
	defer transport.CloseIdleConnections()
	g := &toggling{T: t, shut: map[string][]span{}, client: &http.Client{Transport: transport}}
	g.instances = startShared(t, 4, "--policies", file(t, "p.yaml", togglePolicies), "--log-level", "error")
	for n := range 2 {
		g.write(0, http.MethodPut, "/v1/providers/p/keys/"+limiter.KeyID(fmt.Sprintf("sk-%d", n)), `{"pool":"acme"}`)
	}
	if status, text := g.instances[0].permit(`{"provider":"p","key":"sk-0"}`); status != http.StatusOK { // so that one a day is used up
		t.Fatal(status, text)
	}
	stop := make(chan struct{})
	var clients, operators sync.WaitGroup
	for n := range 8 {
		clients.Go(func() { g.ask(n, stop) })
	}
	operators.Go(func() { // the limit
		for i := range toggles {
			_, tight := g.patch(i, "day", 1)
			time.Sleep(2 * time.Millisecond) // in which nothing may be granted
			roomy, _ := g.patch(i+1, "day", 1_000_000_000)
			g.shutting("", tight, roomy)
			time.Sleep(2 * time.Millisecond)
		}
	})
	for i, limit := range []string{"one", "two", "three"} { // operators who tune other limits
		operators.Go(func() {
			for n := range toggles {
				g.patch(i+n, limit, 1_000_000+n)
				time.Sleep(5 * time.Millisecond)
			}
		})
	}
	operators.Go(func() { // a key, and the pool of two
		pooled := []string{limiter.KeyID("sk-0"), limiter.KeyID("sk-1")}
		for i := range toggles {
			path, off, on, ids := "/v1/providers/p/keys/"+limiter.KeyID("sk-2"), `{"disabled":true}`, `{"disabled":false}`, []string{limiter.KeyID("sk-2")}
			if i%2 == 0 {
				path, ids = "/v1/providers/p/pools/acme", pooled
			}
			_, from, _ := g.write(i, http.MethodPut, path, off)
			time.Sleep(2 * time.Millisecond)
			to, _, _ := g.write(i+2, http.MethodPut, path, on)
			for _, id := range ids {
				g.shutting(id, from, to)
			}
		}
	})
	operators.Wait()
	close(stop)
	clients.Wait()
	g.judge(toggles)
	if long != "" && len(g.errors) > 0 { // otherwise a busy machine may run out of time
		t.Errorf("%d answers of 5xx: %s", len(g.errors), g.errors[0])
	}
	var last struct {
		Revision int64
		Policy   struct {
			Limits map[string]struct{ Amount int }
		}
	}
	_, text, _ := g.instances[3].get("/v1/providers/p")
	if err := json.Unmarshal([]byte(text), &last); err != nil {
		t.Fatal(err)
	}
	revisions := map[int64]bool{}
	for _, w := range g.writes {
		revisions[w.revision] = true
	}
	if n := 5 * toggles; len(revisions) != n || last.Revision < int64(n)+1 || last.Revision > int64(n+1+len(g.errors)) {
		t.Errorf("%d writes have %d revisions, the last is %d", n, len(revisions), last.Revision)
	}
	for _, limit := range []string{"one", "two", "three"} {
		if got := last.Policy.Limits[limit].Amount; got != 1_000_000+toggles-1 {
			t.Errorf("the last edit of %s is lost: %d", limit, got)
		}
	}
}

// judge holds what was granted against what had been written.
func (g *toggling) judge(toggles int) {
	writes := slices.Clone(g.writes)
	slices.SortFunc(writes, func(a, b writtenRevision) int { return a.at.Compare(b.at) })
	for i := 1; i < len(writes); i++ {
		writes[i].revision = max(writes[i].revision, writes[i-1].revision)
	}
	for _, grant := range g.grants {
		n, _ := slices.BinarySearchFunc(writes, grant.sent, func(w writtenRevision, at time.Time) int { return w.at.Compare(at) })
		if n > 0 && grant.revision < writes[n-1].revision {
			g.Errorf("granted under revision %d after %d had been written", grant.revision, writes[n-1].revision)
		}
		for _, spans := range [][]span{g.shut[""], g.shut[grant.key]} {
			for _, s := range spans {
				if grant.sent.After(s.from) && grant.answered.Before(s.to) {
					g.Errorf("%s was granted a permit while nothing was to be had", grant.key)
				}
			}
		}
	}
	g.Logf("%d writes of the policy, %d permits granted, %d answers of 5xx", len(writes), len(g.grants), len(g.errors))
	if len(g.grants) < toggles {
		g.Errorf("only %d permits: little was tested", len(g.grants))
	}
}
