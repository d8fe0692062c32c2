package redisstore

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestStrangersOfAFailedAsk puts something that is no counter in the place of one: the asks that are sent with one for it are
// decided all the same, once, and it charges nothing.
func TestStrangersOfAFailedAsk(t *testing.T) {
	store, admin := open(t, redistest.Shared(t), Options{Timeout: patience}), redistest.Shared(t).Client()
	defer admin.Close()
	c := limiter.New(store)
	for _, provider := range []string{"openai", "twin"} {
		p, err := limiter.ParsePolicy([]byte(`{"limits":{
			"all":{"scope":"provider","kind":"quota","amount":1000,"per":"month"},
			"quota":{"scope":"key","kind":"quota","amount":10,"per":"month"},
			"slots":{"scope":"key","kind":"concurrency","amount":10,"models":["slots"]}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.PutPolicy(t.Context(), provider, p, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	used := func(want int64) {
		t.Helper()
		u, err := c.Usage(t.Context(), limiter.UsageQuery{Provider: "openai"})
		if err != nil || u.Limits[0].Used != want {
			t.Fatalf("%+v, %v; want %d used", u.Limits, err, want)
		}
	}
	ask := func(key, model string) limiter.Ask { return limiter.Ask{Provider: "openai", Key: key, Model: model} }
	var before int64
	for _, of := range []struct{ model, value string }{{"plain", "?"}, {"slots", "?"}} {
		bad := "sk-bad-" + of.model
		if _, err := c.Acquire(t.Context(), ask(bad, of.model)); err != nil {
			t.Fatal(err)
		}
		before++
		for _, k := range admin.Keys(t.Context(), store.keys.of("openai")+"*").Val() {
			isSlots := admin.Type(t.Context(), k).Val() == "zset"
			if strings.Contains(k, limiter.KeyID(bad)) && isSlots == (of.model == "slots") {
				admin.Set(t.Context(), k, of.value, 0)
			}
		}
		results := c.AcquireBatch(t.Context(), []limiter.Ask{ask("sk-1", of.model), ask(bad, of.model), ask("sk-2", of.model), {Provider: "twin", Key: bad, Model: of.model}})
		for i, r := range results {
			if i == 1 {
				if r.Err == nil {
					t.Errorf("%s: what can't be decided was: %+v", of.model, r.Decision)
				}
			} else if r.Err != nil || !r.Decision.Allowed {
				t.Errorf("%s: ask %d: %+v, %v", of.model, i, r.Decision, r.Err)
			}
		}
		before += 2
		used(before)
	}
}
