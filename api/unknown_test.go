package api

import (
	"maps"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// pickyPolicy counts tokens of one model and images of another, and is as strict as members say.
func pickyPolicy(members, tpm string) string {
	return `{` + members + `"limits":{
		"tpm": {"scope":"key","kind":"rate","unit":"tokens","counts":{"input_tokens":1,"output_tokens":1},"amount":100000,"per":"1m","models":["gpt-4o"]` + tpm + `},
		"img": {"scope":"key","kind":"rate","unit":"images","amount":10,"per":"1m","models":["dall-e"]},
		"rpm": {"scope":"key","kind":"rate","amount":1000,"per":"1m"}}}`
}

// of is an ask at openrouter.
func of(model, cost string) string {
	return `{"provider":"openrouter","key":"sk-1","model":"` + model + `","cost":` + cost + `}`
}

func TestUnknownModelIsRefused(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": pickyPolicy(`"unknown_models":"deny",`, ``)})
	r := serve(t, s)
	if p := r.permit(of("gtp-4o", `{}`)).problem(t, 403, "unknown-model"); !strings.Contains(p.Detail, "check its spelling") {
		t.Errorf("%q", p.Detail)
	}
	if got := r.permit(of("gpt-4o", `{}`)); got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
	for _, model := range []string{" gpt-4o", "gpt-4o "} {
		if p := r.permit(of(model, `{}`)).problem(t, 400, "invalid-request"); p.pointers() != "/model" {
			t.Errorf("%+v", p)
		}
	}
	if p := r.get("/v1/providers/openrouter/usage?model=gpt-4o%20").problem(t, 400, "invalid-request"); p.pointers() != "/model" {
		t.Errorf("%+v", p)
	}
}

func TestUnitsAreRefused(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"openrouter": pickyPolicy(`"unknown_units":"deny",`, `,"required":true`)})
	r := serve(t, s)
	p := r.permit(of("gpt-4o", `{"prompt_tokens":5000}`)).problem(t, 400, "invalid-request")
	if p.pointers() != "/cost /cost/prompt_tokens" || !strings.Contains(p.Errors[0].Detail, "name input_tokens, output_tokens or tokens") {
		t.Errorf("%+v", p)
	}
	got := r.permit(of("gpt-4o", `{"tokens":500}`))
	if got.status != 200 || !strings.HasSuffix(got.text, `"ignored_units":[]}`) || !strings.Contains(got.text, `"cost":500,`) {
		t.Errorf("%d %s", got.status, got.text)
	}
	// never of a settlement
	id := r.held(strings.Replace(of("gpt-4o", `{"tokens":500}`), `"model"`, `"hold":true,"model"`, 1)).ID
	want := `{"permit_id":"` + id + `","state":"settled","adjusted":{"tpm":-100},"uncharged":{},"late":false,"ignored_units":["prompt_tokens"]}`
	checkJSON(t, r.on(id, "settle", `{"cost":{"prompt_tokens":3,"tokens":400}}`), want)
	checkJSON(t, r.on(id, "settle", `{"cost":{"tokens":1}}`), want)
}

// TestMetricsOfTheUnknown: asks are counted for what the policy does not know, whether it refuses them or not.
func TestMetricsOfTheUnknown(t *testing.T) {
	for name, doc := range map[string]string{
		"passed":  pickyPolicy(``, ``),
		"refused": pickyPolicy(`"unknown_models":"deny","unknown_units":"deny",`, `,"required":true`),
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newTestServer(t, map[string]string{"openrouter": doc, "other": `{"limits":{"l":{"scope":"key","kind":"rate","amount":1,"per":"1m"}}}`})
			r := serve(t, s)
			none := map[string]float64{
				"permitd_unknown_models_total{provider=openrouter}":      0,
				"permitd_unknown_models_total{provider=other}":           0,
				"permitd_unknown_units_total{provider=openrouter}":       0,
				"permitd_unknown_units_total{provider=other}":            0,
				"permitd_unweighed_total{limit=img,provider=openrouter}": 0,
				"permitd_unweighed_total{limit=l,provider=other}":        0,
				"permitd_unweighed_total{limit=rpm,provider=openrouter}": 0,
				"permitd_unweighed_total{limit=tpm,provider=openrouter}": 0,
			}
			r.expectUnknown(none)
			r.permit(of("gtp-4o", `{"tokens":1}`))
			r.permit(of("gpt-4o", `{"prompt_tokens":1,"completion_tokens":1}`))
			r.permit(of("gpt-4o", `{"tokens":1,"images":1}`)) // ignored, and not unknown
			r.permit(of("gpt-4o", `{}`))
			r.permit(of("dall-e", `{}`))
			r.permit(strings.Replace(of("gtp-4o", `{"prompt_tokens":1}`), `"model"`, `"dry_run":true,"model"`, 1))
			some := maps.Clone(none)
			some["permitd_unknown_models_total{provider=openrouter}"] = 1
			some["permitd_unknown_units_total{provider=openrouter}"] = 1
			some["permitd_unweighed_total{limit=tpm,provider=openrouter}"] = 2
			some["permitd_unweighed_total{limit=img,provider=openrouter}"] = 1
			r.expectUnknown(some)
			if name == "refused" {
				got := r.scraped()
				if got["permitd_permits_total{outcome=unknown-model,provider=openrouter}"] != 2 || got["permitd_permits_total{outcome=invalid-request,provider=openrouter}"] != 2 {
					t.Errorf("%v", got)
				}
			}
			// of a limit that is new, too
			r.do("PATCH", "/v1/providers/other", `{"limits":{"m":{"scope":"key","kind":"rate","amount":1,"per":"1m"}}}`, "Content-Type: application/merge-patch+json")
			some["permitd_unweighed_total{limit=m,provider=other}"] = 0
			r.expectUnknown(some)
		})
	}
}

// expectUnknown checks the series of what is not known.
func (r *remote) expectUnknown(want map[string]float64) {
	r.t.Helper()
	got := r.scraped()
	maps.DeleteFunc(got, func(name string, _ float64) bool {
		return !strings.HasPrefix(name, "permitd_unknown_") && !strings.HasPrefix(name, "permitd_unweighed_")
	})
	if !maps.Equal(got, want) {
		r.t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestKnownNamesWithoutTheStore: what is assumed while the store is away is known as well.
func TestKnownNamesWithoutTheStore(t *testing.T) {
	c := limiter.New(nil)
	if err := c.Assume(limiter.ProviderDocs{Provider: "openrouter", Policy: parsePolicy(t, pickyPolicy(``, ``))}); err != nil {
		t.Fatal(err)
	}
	r := serve(t, New(c, Options{LoopbackOnly: true}))
	if n, ok := r.scraped()["permitd_unweighed_total{limit=tpm,provider=openrouter}"]; !ok || n != 0 {
		t.Errorf("%v, %v", n, ok)
	}
}
