package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// hammerPolicies have nothing decided without Redis, which may seem to be away on a busy machine.
const hammerPolicies = `providers:
  bound:
    on_store_failure: deny
    limits:
      tokens: {scope: provider, kind: rate, unit: tokens, amount: 5000, per: 1s, burst: 5000}
  stock:
    on_store_failure: deny
    limits:
      all:  {scope: provider, kind: quota, amount: 1000000, per: month}
      acct: {scope: pool, kind: quota, amount: 1000000, per: month}
      key:  {scope: key, kind: quota, amount: 50, per: month}
    pools:
      acme: {label: acme}
    keys:
` + hammerKeys

const hammerKeys = `      k_00000000000000000000000000000001: {pool: acme}
      k_00000000000000000000000000000002: {pool: acme}
      k_00000000000000000000000000000003: {pool: acme}
`

// swarm is 64 clients that ask instances in turn, each as fast as it is answered.
const swarm = 64

func hammer(t *testing.T, instances []*instance, client func(n int, ask func(body string) (status int, text string))) {
	t.Helper()
	transport := &http.Transport{MaxIdleConnsPerHost: swarm}
	defer transport.CloseIdleConnections()
	hc := &http.Client{Transport: transport}
	var wg sync.WaitGroup
	for n := range swarm {
		wg.Go(func() {
			turn := n
			client(n, func(body string) (int, string) {
				turn++
				status, text, err := post(hc, instances[turn%len(instances)].url+"/v1/permits", body)
				if err != nil {
					t.Error(err)
				}
				return status, text
			})
		})
	}
	wg.Wait()
}

// granted is a permit as its client saw it: it was decided at some moment from sent to answered.
type granted struct {
	sent, answered time.Time
	cost           int64
}

// testBound: in every interval, what was granted within it is at most burst + amount·w/per, and over the run at least
// 97 % of that is.
func testBound(t *testing.T, instances ...*instance) {
	const perSecond, burst = 5_000, 5_000 // little enough for a machine that is busy with other things
	var mu sync.Mutex
	var grants []granted
	begin := time.Now()
	deadline := begin.Add(2 * time.Second)
	hammer(t, instances, func(_ int, ask func(string) (int, string)) {
		for time.Now().Before(deadline) {
			g := granted{sent: time.Now(), cost: 50 + rand.Int64N(100)}
			status, text := ask(fmt.Sprintf(`{"provider":"bound","key":"sk-1","cost":{"tokens":%d}}`, g.cost))
			g.answered = time.Now()
			switch status {
			case http.StatusOK:
				mu.Lock()
				grants = append(grants, g)
				mu.Unlock()
			case http.StatusTooManyRequests, http.StatusServiceUnavailable: // the latter when the machine is slow: nothing is charged
			default:
				t.Errorf("%d %s", status, text)
				return
			}
		}
	})
	if len(grants) == 0 {
		t.Fatal("nothing granted")
	}
	slices.SortFunc(grants, func(a, b granted) int { return a.answered.Compare(b.answered) })
	total := int64(0)
	for _, g := range grants {
		total += g.cost
	}
	// Whatever was sent after `from` and answered by `to` was decided in between.
	starts := slices.SortedFunc(slices.Values(grants), func(a, b granted) int { return a.sent.Compare(b.sent) })
	for i := 0; i < len(starts); i += 1 + len(starts)/500 {
		from, within := starts[i].sent, int64(0)
		for _, g := range grants {
			if g.sent.Before(from) {
				continue
			}
			within += g.cost
			if most := burst + int64(perSecond*g.answered.Sub(from).Seconds()) + 1; within > most {
				t.Fatalf("%d tokens granted in the %v from %v, at most %d may be", within, g.answered.Sub(from), from.Sub(begin), most)
			}
		}
	}
	last := slices.MaxFunc(grants, func(a, b granted) int { return cmp.Compare(a.sent.UnixNano(), b.sent.UnixNano()) })
	bound := burst + int64(perSecond*last.sent.Sub(starts[0].answered).Seconds())
	t.Logf("%d tokens granted in %d permits, bound %d", total, len(grants), bound)
	if total*100 < bound*97 {
		t.Errorf("%d tokens granted of %d: less than 97 %%", total, bound)
	}
}

// testDeniedByKeyChargesNobodyElse: keys run into limits of their own, and the limits of account and provider hold what
// was granted, no more.
func testDeniedByKeyChargesNobodyElse(t *testing.T, instances ...*instance) {
	var mu sync.Mutex
	grants, denials := 0, 0
	hammer(t, instances, func(n int, ask func(string) (int, string)) {
		for range 20 {
			body := fmt.Sprintf(`{"provider":"stock","key_id":"k_%032d"}`, 1+n%3)
			status, text := ask(body)
			for status == http.StatusServiceUnavailable {
				status, text = ask(body)
			}
			mu.Lock()
			switch {
			case status == http.StatusOK:
				grants++
			case status == http.StatusTooManyRequests && strings.Contains(text, `"violated-policies":["key"]`):
				denials++
			default:
				t.Errorf("%d %s", status, text)
			}
			mu.Unlock()
		}
	})
	if grants != 3*50 || denials != swarm*20-3*50 {
		t.Errorf("%d granted and %d denied, want 150 and %d", grants, denials, swarm*20-150)
	}
	for _, i := range instances {
		used := map[string]int{}
		eventually(t, func() bool { // what was charged to those who were answered 503 is taken back
			used = usage(t, i)
			return used["all"] == 150 && used["acct"] == 150 && used["key"] == 50 || t.Failed()
		})
		if used["all"] != 150 || used["acct"] != 150 || used["key"] != 50 {
			t.Errorf("used %v, want all 150, acct 150, key 50", used)
		}
	}
}

// usage is what the limits of the first key hold, by name.
func usage(t *testing.T, i *instance) map[string]int {
	t.Helper()
	_, text, err := i.get("/v1/providers/stock/usage?key_id=k_00000000000000000000000000000001")
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Limits []struct {
			Name string
			Used int
		}
	}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatal(err)
	}
	used := map[string]int{}
	for _, l := range answer.Limits {
		used[l.Name] = l.Used
	}
	return used
}

func TestHammered(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", hammerPolicies), "--log-level", "error")
	t.Run("bound", func(t *testing.T) { testBound(t, i) })
	t.Run("denied by key", func(t *testing.T) { testDeniedByKeyChargesNobodyElse(t, i) })
}
