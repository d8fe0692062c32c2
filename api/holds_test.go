package api

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// heldAsk reserves 1300 of tpm's 1500 tokens until 12:01.
const heldAsk = `{"provider":"openrouter","key":"sk-1","model":"m","cost":{"input_tokens":1000,"output_tokens":300},"hold":true,"ttl_ms":60000}`

// noPermit is a permit id that nobody has.
const noPermit = "p_openrouter_AAAAAAAAAAAAAAAAAAAAAA"

// movingServer is a server like newTestServer's whose clock, in microseconds, is moved by the test.
func movingServer(t *testing.T, doc string) (*remote, *atomic.Int64) {
	clock := new(atomic.Int64)
	clock.Store(int64(noon))
	c := limiter.New(memstore.New(memstore.Options{Clock: func() limiter.Instant { return limiter.Instant(clock.Load()) }}))
	seed(t, c, limiter.ProviderDocs{Provider: "openrouter", Policy: parsePolicy(t, doc)})
	return serve(t, New(c, Options{LoopbackOnly: true})), clock
}

// heldGrant is a grant as far as its hold goes.
type heldGrant struct {
	Status  int
	ID      string `json:"permit_id"`
	Expires string `json:"expires_at"`
}

// held is a permit that was granted with a hold.
func (r *remote) held(ask string) heldGrant {
	r.t.Helper()
	got := r.permit(ask)
	var g heldGrant
	decode(r.t, got.text, &g)
	if got.status != 200 || g.ID == "" {
		r.t.Fatalf("%d %s", got.status, got.text)
	}
	return g
}

// on does something to a permit.
func (r *remote) on(id, verb, body string, headers ...string) answer {
	r.t.Helper()
	return r.do(http.MethodPost, "/v1/permits/"+id+"/"+verb, body, headers...)
}

func checkJSON(t *testing.T, got answer, want string) {
	t.Helper()
	if got.status != 200 || got.text != want || got.header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s\n got %s\nwant %s", got.status, got.header.Get("Content-Type"), got.text, want)
	}
}

// refusedAsClosed checks that something can't be done to a permit any more, and what its client is told to do.
func (r *remote) refusedAsClosed(id, verb, body, detail string) {
	r.t.Helper()
	if p := r.on(id, verb, body).problem(r.t, 409, "permit-closed"); !strings.Contains(p.Detail, detail) {
		r.t.Errorf("%s: detail %q, want %q", verb, p.Detail, detail)
	}
}

// tokensLeft is what fits of tpm at once.
func (r *remote) tokensLeft() int64 {
	r.t.Helper()
	var u struct {
		Limits []struct {
			Name      string
			Remaining int64
		}
	}
	decode(r.t, r.get("/v1/providers/openrouter/usage").text, &u)
	for _, l := range u.Limits {
		if l.Name == "tpm" {
			return l.Remaining
		}
	}
	r.t.Fatalf("no tpm in %+v", u)
	return 0
}

func TestGrantWithHold(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	got := r.permit(heldAsk)
	var g heldGrant
	decode(t, got.text, &g)
	if limiter.PermitProvider(g.ID) != "openrouter" {
		t.Errorf("permit_id %q", g.ID)
	}
	want := `{"allowed":true,"provider":"openrouter","key_id":"` + limiter.KeyID("sk-1") + `","pool":null,"revision":1,"degraded":false,` +
		`"permit_id":"` + g.ID + `","expires_at":"2026-11-23T12:01:00Z","limits":[{"name":"key-rpm",`
	if got.status != 200 || !strings.HasPrefix(got.text, want) {
		t.Errorf("%d\n got %s\nwant %s…", got.status, got.text, want)
	}
	for name, ask := range map[string]string{
		"denial":  heldAsk,
		"dry run": `{"provider":"openrouter","key":"sk-2","hold":true,"dry_run":true}`,
		"no hold": `{"provider":"openrouter","key":"sk-2","hold":false}`,
	} {
		if got := r.permit(ask); strings.Contains(got.text, "permit_id") || strings.Contains(got.text, "expires_at") || got.status != 200 && name != "denial" {
			t.Errorf("%s: %d %s", name, got.status, got.text)
		}
	}
}

// TestHoldTTL: a hold lives as long as it asks for, at most hold_ttl, which it gets where it does not say.
func TestHoldTTL(t *testing.T) {
	r, clock := movingServer(t, `{"hold_ttl":"24h","limits":{}}`)
	clock.Add(500_000)
	for members, want := range map[string]string{
		`"hold":true`:                      "2026-11-24T12:00:00.5Z",
		`"hold":true,"ttl_ms":1`:           "2026-11-23T12:00:00.501Z",
		`"ttl_ms":500,"hold":true`:         "2026-11-23T12:00:01Z",
		`"hold":true,"ttl_ms":86400000`:    "2026-11-24T12:00:00.5Z",
		`"hold":true,"ttl_ms":86400001`:    "/ttl_ms: must be a whole number from 1 to 86400000, not 86400001",
		`"hold":true,"ttl_ms":0`:           "/ttl_ms: must be a whole number from 1 to 86400000, not 0",
		`"hold":true,"ttl_ms":-1`:          "/ttl_ms: must be a whole number from 1 to 86400000, not -1",
		`"hold":true,"ttl_ms":1.5`:         "/ttl_ms: must be a whole number from 1 to 86400000, not 1.5",
		`"hold":true,"ttl_ms":"60000"`:     "/ttl_ms: must be a whole number from 1 to 86400000, not a string",
		`"hold":true,"ttl_ms":1,"key":"x"`: "/key: is given twice",
		`"ttl_ms":60000`:                   "/ttl_ms: is of a hold, and there is none",
		`"ttl_ms":60000,"hold":false`:      "/ttl_ms: is of a hold, and there is none",
	} {
		got := r.permit(`{"provider":"openrouter","key":"k",` + members + `}`)
		if want[0] != '/' {
			var g heldGrant
			if decode(t, got.text, &g); got.status != 200 || g.Expires != want {
				t.Errorf("%s: %d %s, want %s", members, got.status, got.text, want)
			}
			continue
		}
		p := got.problem(t, 400, "invalid-request")
		if len(p.Errors) != 1 || !strings.HasPrefix(p.Errors[0].Pointer+": "+p.Errors[0].Detail, want) {
			t.Errorf("%s: %q, want %s", members, p.Errors, want)
		}
	}
}

func TestHoldTTLOfThePolicy(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"openrouter": `{"hold_ttl":"1m","limits":{}}`})
	r := serve(t, s)
	p := r.permit(`{"provider":"openrouter","key":"k","hold":true,"ttl_ms":60001}`).problem(t, 400, "invalid-request")
	if p.pointers() != "/ttl_ms" || !strings.Contains(p.Errors[0].Detail, "1m") {
		t.Errorf("%q", p.Errors)
	}
	if store.Len() != 0 {
		t.Error("a refused hold is kept")
	}
	if g := r.held(`{"provider":"openrouter","key":"k","hold":true,"ttl_ms":60000}`); g.Expires != "2026-11-23T12:01:00Z" {
		t.Errorf("%+v", g)
	}
}

func TestTimes(t *testing.T) {
	zone := time.FixedZone("", -3600)
	for _, tt := range []struct {
		t    time.Time
		want string
	}{
		{noon.Time(), `"2026-11-23T12:00:00Z"`},
		{noon.Time().In(zone), `"2026-11-23T12:00:00Z"`},
		{(noon + 1).Time(), `"2026-11-23T12:00:00.000001Z"`},
		{(noon + 120_000).Time(), `"2026-11-23T12:00:00.12Z"`},
		{(noon + 999_999).Time().Add(999), `"2026-11-23T12:00:00.999999Z"`},
	} {
		if got := string(appendTime(nil, tt.t)); got != tt.want {
			t.Errorf("%v: got %s, want %s", tt.t, got, tt.want)
		}
	}
}

func TestSettle(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	id := r.held(heldAsk).ID
	want := `{"permit_id":"` + id + `","state":"settled","adjusted":{"tpm":-50},"uncharged":{},"late":false,"ignored_units":[]}`
	checkJSON(t, r.on(id, "settle", `{"cost":{"output_tokens":250}}`), want)
	if got := r.tokensLeft(); got != 250 {
		t.Errorf("%d tokens left", got)
	}
	checkJSON(t, r.on(id, "settle", `{"cost":{"output_tokens":250}}`), want)
	checkJSON(t, r.on(id, "settle", `{"cost":{"output_tokens":7}}`), want)
	checkJSON(t, r.on(strings.Replace(id, "_", "%5F", 1), "settle", `{"cost":{}}`), want)
	if got := r.tokensLeft(); got != 250 {
		t.Errorf("%d tokens left after repeating", got)
	}
	r.refusedAsClosed(id, "cancel", "", "was settled, so it can't be cancelled: there is nothing left to do")
	r.refusedAsClosed(id, "extend", `{"ttl_ms":1}`, "can't be extended: ask for a new one")
}

func TestSettleKeepsWhatIsNotNamed(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	id := r.held(heldAsk).ID
	checkJSON(t, r.on(id, "settle", `{"cost":{}}`), `{"permit_id":"`+id+`","state":"settled","adjusted":{},"uncharged":{},"late":false,"ignored_units":[]}`)
	if got := r.tokensLeft(); got != 200 {
		t.Errorf("%d tokens left", got)
	}
}

// TestSettlementIsInOrder: limits are in the order of their names, so that an answer is the same each time.
func TestSettlementIsInOrder(t *testing.T) {
	var limits []string
	for _, name := range []string{"e", "c", "a", "f", "b", "d"} {
		limits = append(limits, `"`+name+`":{"scope":"key","kind":"rate","unit":"tokens","amount":100,"per":"1m"}`)
	}
	s, _ := newTestServer(t, map[string]string{"openrouter": `{"limits":{` + strings.Join(limits, ",") + `}}`})
	r := serve(t, s)
	id := r.held(`{"provider":"openrouter","key":"k","cost":{"tokens":40},"hold":true}`).ID
	want := `{"permit_id":"` + id + `","state":"settled","adjusted":{"a":160,"b":160,"c":160,"d":160,"e":160,"f":160},` +
		`"uncharged":{"a":300,"b":300,"c":300,"d":300,"e":300,"f":300},"late":false,"ignored_units":[]}`
	for range 3 {
		checkJSON(t, r.on(id, "settle", `{"cost":{"tokens":500}}`), want)
	}
}

func TestCancel(t *testing.T) {
	for name, tt := range map[string]struct {
		body    string
		headers []string
	}{
		"no body":            {},
		"no body, some type": {headers: []string{"Content-Type: application/x-www-form-urlencoded"}},
		"empty object":       {body: `{}`},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
			r := serve(t, s)
			id := r.held(heldAsk).ID
			want := `{"permit_id":"` + id + `","state":"cancelled","adjusted":{"key-rpm":-1,"rpd":-1,"tpm":-1300,"watch":-1},"uncharged":{},"late":false,"ignored_units":[]}`
			for range 2 {
				checkJSON(t, r.on(id, "cancel", tt.body, tt.headers...), want)
			}
			if got := r.tokensLeft(); got != 1500 {
				t.Errorf("%d tokens left", got)
			}
			r.refusedAsClosed(id, "settle", `{"cost":{"output_tokens":250}}`, "was cancelled and its cost refunded, so it can't be settled: ")
			r.refusedAsClosed(id, "extend", `{"ttl_ms":1}`, "can't be extended: ask for a new one")
		})
	}
}

func TestExtend(t *testing.T) {
	r, clock := movingServer(t, tiers)
	id := r.held(heldAsk).ID
	extend := func(ttl, want string) {
		t.Helper()
		checkJSON(t, r.on(id, "extend", `{"ttl_ms":`+ttl+`}`), `{"permit_id":"`+id+`","expires_at":"`+want+`"}`)
	}
	extend("30000", "2026-11-23T12:01:00Z")
	extend("90000", "2026-11-23T12:01:30Z")
	clock.Add((89 * time.Second).Microseconds())
	extend("1250", "2026-11-23T12:01:30.25Z")
	extend("86400000", "2026-11-24T12:00:00Z") // 24 h from its beginning
	clock.Store(int64(noon) + (24 * time.Hour).Microseconds())
	r.refusedAsClosed(id, "extend", `{"ttl_ms":1000}`, "one that has only expired can still be settled")
}

// TestLateSettle: a hold that has expired is settled late, until its record is gone too.
func TestLateSettle(t *testing.T) {
	r, clock := movingServer(t, tiers)
	late, gone := r.held(`{"provider":"openrouter","key":"a","hold":true,"ttl_ms":1000}`).ID, r.held(`{"provider":"openrouter","key":"b","hold":true,"ttl_ms":1000}`).ID
	clock.Add((10*time.Minute + 999*time.Millisecond).Microseconds())
	checkJSON(t, r.on(late, "settle", `{"cost":{"input_tokens":10}}`), `{"permit_id":"`+late+`","state":"settled","adjusted":{"tpm":10},"uncharged":{},"late":true,"ignored_units":[]}`)
	clock.Add(1000)
	r.on(gone, "settle", `{"cost":{}}`).problem(t, 404, "unknown-permit")
}

func TestBatchWithHolds(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": tiers})
	r := serve(t, s)
	got := r.batch(`{"permits":[` + strings.Join([]string{
		heldAsk,
		`{"provider":"openrouter","key":"a"}`,
		`{"provider":"openrouter","key":"a","ttl_ms":5}`,
		`{"provider":"openrouter","key":"a","hold":true,"ttl_ms":600001}`,
		`{"provider":"openrouter","key":"a","hold":true,"dry_run":true}`,
		`{"provider":"openrouter","key":"a","hold":true}`,
	}, ",") + `]}`)
	var doc struct{ Decisions []json.RawMessage }
	decode(t, got.text, &doc)
	want := []struct {
		status   int
		expires  string
		pointers string
	}{{200, "2026-11-23T12:01:00Z", ""}, {200, "", ""}, {400, "", "/ttl_ms"}, {400, "", "/ttl_ms"}, {200, "", ""}, {200, "2026-11-23T12:10:00Z", ""}}
	if len(doc.Decisions) != len(want) {
		t.Fatalf("%d decisions: %s", len(doc.Decisions), got.text)
	}
	for i, raw := range doc.Decisions {
		var g heldGrant
		var p problemDoc
		decode(t, string(raw), &g)
		decode(t, string(raw), &p)
		w := want[i]
		if g.Status != w.status || g.Expires != w.expires || p.pointers() != w.pointers || (g.ID != "") != (w.expires != "") {
			t.Errorf("%d: %s, want %+v", i, raw, w)
		}
		if g.ID == "" {
			continue
		}
		if got := r.on(g.ID, "settle", `{"cost":{}}`); got.status != 200 {
			t.Errorf("%d: settle %d %s", i, got.status, got.text)
		}
	}
}
