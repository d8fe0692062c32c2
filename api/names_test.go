package api

import (
	"strings"
	"testing"
)

func TestAnswersSayWhatIsCountedTogether(t *testing.T) {
	r, _ := movingServer(t, `{"max_unknown_keys":1,"max_models":1,"limits":{
		"all": {"scope":"provider","kind":"rate","amount":60,"per":"1m"},
		"key": {"scope":"key","kind":"rate","amount":60,"per":"1m","burst":1},
		"model": {"scope":"provider","kind":"rate","amount":60,"per":"1m","per_model":true}}}`)
	for _, ask := range []struct {
		key, model string
		status     int
		others     int // limits that count it together with others
	}{{"sk-1", "m1", 200, 0}, {"sk-2", "m1", 200, 1}, {"sk-3", "m1", 429, 1}, {"sk-1", "m1", 429, 0}, {"sk-3", "m2", 429, 2}} {
		got := r.permit(`{"provider":"openrouter","key":"` + ask.key + `","model":"` + ask.model + `"}`)
		members := strings.Count(got.text, `"counted_as":"_other"`)
		if want := ask.others + min(1, ask.others); got.status != ask.status || members != want {
			t.Errorf("%+v: %d, %d members counted_as, want %d\n%s", ask, got.status, members, want, got.text)
		}
	}
	if got := r.get("/v1/providers/openrouter/usage?model=m2"); strings.Count(got.text, `"counted_as":"_other"`) != 1 || !strings.Contains(got.text, `"model":"_other"`) {
		t.Errorf("usage of a model: %s", got.text)
	}
	series := r.scraped()
	for limit, want := range map[string]float64{"all": 0, "key": 3, "model": 1} {
		if got := series["permitd_counted_as_other_total{limit="+limit+",provider=openrouter}"]; got != want {
			t.Errorf("limit %s counted %v asks together, want %v", limit, got, want)
		}
	}
}
