package api

import (
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/dunglas/httpsfv"

	"github.com/permitd/permitd/limiter"
)

// fieldItems parses a structured field as a client would: each item as `name;key=value`, parameters in order.
func fieldItems(t *testing.T, h http.Header, name string) []string {
	t.Helper()
	values := h.Values(name)
	if len(values) == 0 {
		return nil
	}
	list, err := httpsfv.UnmarshalList(values)
	if err != nil {
		t.Fatalf("%s: %v in %q", name, err, values)
	}
	var items []string
	for _, m := range list {
		item := m.(httpsfv.Item)
		text := item.Value.(string)
		for _, k := range item.Params.Names() {
			v, _ := item.Params.Get(k)
			text += fmt.Sprintf(";%s=%d", k, v.(int64))
		}
		items = append(items, text)
	}
	return items
}

func checkFields(t *testing.T, h http.Header, policy, limit []string) {
	t.Helper()
	if got := fieldItems(t, h, "RateLimit-Policy"); !reflect.DeepEqual(got, policy) {
		t.Errorf("RateLimit-Policy %q, want %q", got, policy)
	}
	if got := fieldItems(t, h, "RateLimit"); !reflect.DeepEqual(got, limit) {
		t.Errorf("RateLimit %q, want %q", got, limit)
	}
}

// TestFieldsOverHTTP: shadow limits and limits of other units are not in the fields.
func TestFieldsOverHTTP(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{
		"openrouter": tiers,
		"tokens":     `{"limits":{"tpm":{"scope":"key","kind":"rate","unit":"tokens","amount":1,"per":"1m"}}}`,
	})
	r := serve(t, s)
	got := r.permit(ask)
	checkFields(t, got.header, []string{"key-rpm;q=60;w=60", "rpd;q=1000;w=86400"}, []string{"key-rpm;r=1;t=1", "rpd;r=999;t=43200"})
	if text := got.header.Get("RateLimit"); text != `"key-rpm";r=1;t=1, "rpd";r=999;t=43200` {
		t.Errorf("RateLimit: %s", text)
	}
	got = r.permit(ask) // denied by tpm, which is not in the fields
	checkFields(t, got.header, []string{"key-rpm;q=60;w=60", "rpd;q=1000;w=86400"}, []string{"key-rpm;r=1;t=1", "rpd;r=999;t=43200"})
	checkFields(t, r.permit(`{"provider":"tokens","key":"k"}`).header, nil, nil)
}

func TestFields(t *testing.T) {
	rate := func(edit func(l *limiter.LimitStatus)) []limiter.LimitStatus {
		l := limiter.LimitStatus{
			Name: "rpm", Kind: limiter.KindRate, Mode: limiter.Enforce, Unit: "requests",
			Amount: 20, Remaining: 7, Window: time.Minute, NextUnit: 3 * time.Second,
		}
		edit(&l)
		return []limiter.LimitStatus{l}
	}
	none := []string(nil)
	for name, tt := range map[string]struct {
		limits        []limiter.LimitStatus
		policy, limit []string
	}{
		"as usual":            {rate(func(*limiter.LimitStatus) {}), []string{"rpm;q=20;w=60"}, []string{"rpm;r=7;t=3"}},
		"t rounds up":         {rate(func(l *limiter.LimitStatus) { l.NextUnit = 1 }), []string{"rpm;q=20;w=60"}, []string{"rpm;r=7;t=1"}},
		"untouched":           {rate(func(l *limiter.LimitStatus) { l.NextUnit = 0 }), []string{"rpm;q=20;w=60"}, []string{"rpm;r=7"}},
		"window not in whole": {rate(func(l *limiter.LimitStatus) { l.Window = 1500 * time.Millisecond }), []string{"rpm;q=20"}, []string{"rpm;r=7;t=3"}},
		"window below 1s":     {rate(func(l *limiter.LimitStatus) { l.Window = time.Millisecond }), []string{"rpm;q=20"}, []string{"rpm;r=7;t=3"}},
		"none left":           {rate(func(l *limiter.LimitStatus) { l.Remaining = 0 }), []string{"rpm;q=20;w=60"}, []string{"rpm;r=0;t=3"}},
		"largest numbers": {rate(func(l *limiter.LimitStatus) { l.Amount, l.Remaining, l.NextUnit = 1e12, 1e12, limiter.Forever }),
			[]string{"rpm;q=1000000000000;w=60"}, []string{"rpm;r=1000000000000;t=3153600000"}},
		"shadow":     {rate(func(l *limiter.LimitStatus) { l.Mode = limiter.Shadow }), none, none},
		"other unit": {rate(func(l *limiter.LimitStatus) { l.Unit = "tokens" }), none, none},
		"no limits":  {nil, none, none},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			setRateLimitFields(h, &limiter.Decision{Allowed: true, Limits: tt.limits})
			checkFields(t, h, tt.policy, tt.limit)
			if h.Get("Retry-After") != "" {
				t.Error("a grant has a Retry-After")
			}
		})
	}
}

// TestFieldsDoNotLeak: what one answer put in the fields is not in the next.
func TestFieldsDoNotLeak(t *testing.T) {
	limit := func(name string, amount int64, next time.Duration) limiter.LimitStatus {
		return limiter.LimitStatus{Name: name, Mode: limiter.Enforce, Unit: "requests", Amount: amount, Window: time.Duration(amount) * time.Second, NextUnit: next}
	}
	for _, tt := range []struct {
		limits []limiter.LimitStatus
		want   []string
	}{
		{[]limiter.LimitStatus{limit("a", 1, time.Second), limit("b", 2, 0), limit("c", 3, 0)}, []string{"a;r=0;t=1", "b;r=0", "c;r=0"}},
		{[]limiter.LimitStatus{limit("a", 1, 0)}, []string{"a;r=0"}},
		{[]limiter.LimitStatus{limit("b", 1, 0), limit("a", 2, time.Second)}, []string{"b;r=0", "a;r=0;t=1"}},
		{[]limiter.LimitStatus{limit("b", 1, 0), limit("a", 2, time.Second), limit("c", 9, 0)}, []string{"b;r=0", "a;r=0;t=1", "c;r=0"}},
	} {
		var policy []string
		for _, l := range tt.limits {
			policy = append(policy, fmt.Sprintf("%s;q=%d;w=%d", l.Name, l.Amount, l.Amount))
		}
		h := http.Header{}
		setRateLimitFields(h, &limiter.Decision{Allowed: true, Limits: tt.limits})
		checkFields(t, h, policy, tt.want)
	}
}

func TestRetryAfter(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0:                       "1",
		1:                       "1",
		time.Second:             "1",
		time.Second + 1:         "2",
		90 * time.Second:        "90",
		90*time.Second + 1:      "91",
		36 * time.Hour:          "129600",
		time.Microsecond * 1000: "1",
	} {
		h := http.Header{}
		setRateLimitFields(h, &limiter.Decision{RetryAfter: wait})
		if got := h.Get("Retry-After"); got != want {
			t.Errorf("%v: %q, want %q", wait, got, want)
		}
	}
}

// TestLongAnswersAreSentWhole: an answer has a length whatever its size.
func TestLongAnswersAreSentWhole(t *testing.T) {
	var limits []string
	for i := range limiter.MaxLimitsPerAsk {
		limits = append(limits, fmt.Sprintf(`"limit-%d":{"scope":"key","kind":"rate","amount":60,"per":"1m"}`, i))
	}
	s, _ := newTestServer(t, map[string]string{"openrouter": `{"limits":{` + strings.Join(limits, ",") + `}}`})
	got := serve(t, s).permit(ask)
	if n := len(fieldItems(t, got.header, "RateLimit")); got.status != 200 || n != limiter.MaxLimitsPerAsk {
		t.Errorf("status %d, %d items", got.status, n)
	}
	if n := len(got.text) + len("\n"); got.header.Get("Content-Length") != fmt.Sprint(n) {
		t.Errorf("Content-Length %q of %d", got.header.Get("Content-Length"), n)
	}
}
