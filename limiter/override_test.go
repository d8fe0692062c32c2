package limiter

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// laidOverLimit is what an entry's override of "l" makes of a limit, both as JSON.
func laidOverLimit(t rapid.TB, limit, override string) (l *Limit, base *Limit, misfit string) {
	t.Helper()
	p, err := ParsePolicy([]byte(`{"limits":{"l":` + limit + `}}`))
	if err != nil {
		t.Fatalf("%s: %v", limit, err)
	}
	e, err := loadEntry(KeyEntry, []byte(`{"limits":{"l":`+override+`}}`))
	if err != nil {
		t.Fatalf("%s: %v", override, err)
	}
	l, misfit = e.Overrides[0].apply(p.Limits[0])
	return l, p.Limits[0], misfit
}

func TestMisfitsAreClamped(t *testing.T) {
	const strict = `"scope":"key","kind":"rate","strict_window":true,"per":"1m"`
	for _, c := range []struct {
		limit, override string
		want            string // amount, burst, per or period
	}{
		// a burst of the policy that is no longer below the amount
		{`{` + strict + `,"amount":1000,"burst":30}`, `{"amount":20}`, "20 2 1m0s"},
		{`{` + strict + `,"amount":1000,"burst":900}`, `{"amount":500}`, "500 400 1m0s"}, // sustains 100, as the policy does
		{`{` + strict + `,"amount":1000,"burst":30}`, `{"amount":1}`, "1 1 1m0s"},
		{`{` + strict + `,"amount":1000,"burst":30}`, `{"amount":2}`, "2 1 1m0s"},
		{`{` + strict + `,"amount":1000,"burst":30}`, `{"amount":20,"per":"1s"}`, "20 2 1m0s"},
		{`{` + strict + `,"amount":1000,"burst":30}`, `{"amount":20,"per":"1h"}`, "20 2 1h0m0s"},
		// a burst of the entry that is not below the policy's amount any more
		{`{` + strict + `,"amount":10}`, `{"burst":60}`, "10 1 1m0s"},
		{`{` + strict + `,"amount":10,"burst":9}`, `{"burst":60}`, "10 9 1m0s"},
		{`{` + strict + `,"amount":10}`, `{"amount":50,"burst":60}`, "10 1 1m0s"},
		// another kind
		{`{"scope":"key","kind":"rate","amount":60,"per":"1m"}`, `{"amount":10,"per":"day"}`, "10 10 24h0m0s"},
		{`{"scope":"key","kind":"rate","amount":60,"per":"31d"}`, `{"amount":100,"per":"hour"}`, "60 60 744h0m0s"},
		{`{"scope":"key","kind":"rate","amount":60,"per":"1m","burst":5}`, `{"per":"week"}`, "60 5 168h0m0s"},
		{`{` + strict + `,"amount":1000,"burst":900}`, `{"amount":500,"per":"day"}`, "500 400 24h0m0s"},
		{`{"scope":"key","kind":"quota","amount":100,"per":"day"}`, `{"amount":20,"per":"1m","burst":5}`, "5 5 day"},
		{`{"scope":"key","kind":"quota","amount":100,"per":"day"}`, `{"amount":200,"per":"1m"}`, "100 100 day"},
		{`{"scope":"key","kind":"quota","amount":100,"per":"hour"}`, `{"amount":20,"per":"25h"}`, "20 20 week"},
		{`{"scope":"key","kind":"quota","amount":100,"per":"hour"}`, `{"per":"31d"}`, "100 100 month"},
		{`{"scope":"key","kind":"concurrency","amount":8}`, `{"amount":20,"per":"1m","burst":5}`, "5 5 "},
		{`{"scope":"key","kind":"concurrency","amount":8}`, `{"amount":2,"per":"day"}`, "2 2 "},
		// what fits is as it says
		{`{` + strict + `,"amount":1000,"burst":30}`, `{"amount":5000,"burst":100}`, "5000 100 1m0s"},
	} {
		l, _, misfit := laidOverLimit(t, c.limit, c.override)
		got := fmt.Sprint(l.Amount, " ", l.Burst, " ", l.Per)
		if l.Kind != KindRate {
			got = fmt.Sprint(l.Amount, " ", l.Burst, " ", l.Calendar.Period)
		}
		if got != c.want || (misfit == "") != strings.HasPrefix(c.want, "5000") {
			t.Errorf("%s over %s: %s (%q), want %s", c.override, c.limit, got, misfit, c.want)
		}
	}
}

// drawSizedLimit draws a limit of any kind and an override of any, which need not fit it.
func drawSizedLimit(t *rapid.T) (limit, override string) {
	amount := rapid.OneOf(rapid.Int64Range(1, 30), rapid.Int64Range(1, MaxAmount))
	per := rapid.SampledFrom([]string{"1ms", "1s", "1m", "1h", "24h", "25h", "7d", "31d"})
	period := rapid.SampledFrom([]string{"hour", "day", "week", "month"})
	a := amount.Draw(t, "amount")
	switch rapid.IntRange(0, 3).Draw(t, "kind") {
	case 0:
		limit = fmt.Sprintf(`"kind":"quota","amount":%d,"per":%q`, a, period.Draw(t, "per"))
	case 1:
		limit = fmt.Sprintf(`"kind":"concurrency","amount":%d`, a)
	case 2:
		limit = fmt.Sprintf(`"kind":"rate","amount":%d,"per":%q,"burst":%d`, a, per.Draw(t, "per"), amount.Draw(t, "burst"))
	default:
		a = max(2, a)
		limit = fmt.Sprintf(`"kind":"rate","strict_window":true,"amount":%d,"per":%q,"slack":%q,"burst":%d`,
			a, per.Draw(t, "per"), rapid.SampledFrom([]string{"0s", "1s", "31d"}).Draw(t, "slack"), rapid.Int64Range(1, a-1).Draw(t, "burst"))
	}
	var members []string
	if rapid.Bool().Draw(t, "names amount") {
		members = append(members, fmt.Sprintf(`"amount":%d`, amount.Draw(t, "its amount")))
	}
	if rapid.Bool().Draw(t, "names burst") {
		members = append(members, fmt.Sprintf(`"burst":%d`, amount.Draw(t, "its burst")))
	}
	if rapid.Bool().Draw(t, "names per") {
		members = append(members, fmt.Sprintf(`"per":%q`, rapid.OneOf(per, period).Draw(t, "its per")))
	}
	return `{"scope":"key",` + limit + `}`, `{` + strings.Join(members, ",") + `}`
}

// TestClampIsValidAndNeverWider: what an override that does not fit comes to is a limit as a policy may have it, and nowhere
// wider than the policy's, nor than what the override names.
func TestClampIsValidAndNeverWider(t *testing.T) {
	clamped := 0
	rapid.Check(t, func(t *rapid.T) {
		limit, override := drawSizedLimit(t)
		l, base, misfit := laidOverLimit(t, limit, override)
		if misfit == "" {
			return
		}
		clamped++
		e, _ := loadEntry(KeyEntry, []byte(`{"limits":{"l":`+override+`}}`))
		o := e.Overrides[0]
		named := func(got, policy, entry int64) bool { return got >= 1 && got <= policy && (entry == 0 || got <= entry) }
		if !named(l.Amount, base.Amount, o.Amount) || !named(l.Burst, base.Burst, o.Burst) || l.Burst > l.Amount {
			t.Fatalf("%s over %s: amount %d, burst %d", override, limit, l.Amount, l.Burst)
		}
		switch l.Kind {
		case KindRate:
			length := max(o.Per, o.Period.length())
			slowest := Rate{base.Amount, int64((max(base.Per, length) + base.Slack) / time.Microsecond)} // that amount per the longer per
			if o.Amount > 0 {
				slowest.Units = min(slowest.Units, o.Amount)
			}
			if r := l.spec().rate(); base.spec().rate().slower(r) || slowest.slower(r) || r.Units < 1 {
				t.Fatalf("%s over %s: drains at %+v", override, limit, r)
			}
			if l.Per != max(base.Per, length) || l.Slack != base.Slack || l.Strict != base.Strict {
				t.Fatalf("%s over %s: %+v", override, limit, l)
			}
			if l.Strict && l.Burst >= l.Amount && l.Amount > 1 {
				t.Fatalf("%s over %s: burst %d of %d", override, limit, l.Burst, l.Amount)
			}
		case KindQuota:
			if p := l.Calendar.Period.length(); p < max(o.Per, o.Period.length()) || p < base.Calendar.Period.length() || l.Burst != l.Amount {
				t.Fatalf("%s over %s: %+v", override, limit, l)
			}
		}
	})
	if clamped == 0 {
		t.Error("nothing was clamped")
	}
}

// TestFitEntryMeansTheSame: what an export writes of an entry whose overrides no longer fit is taken, fits, and is what is in
// force.
func TestFitEntryMeansTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit, override := drawSizedLimit(t)
		l, _, misfit := laidOverLimit(t, limit, override)
		p, err := ParsePolicy([]byte(`{"limits":{"l":` + limit + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		e, clamped, dropped, err := FitEntry(KeyEntry, []byte(`{"label":"x","limits":{"gone":{"amount":1},"l":`+override+`}}`), p)
		if err != nil || e.Label != "x" || !slices.Equal(dropped, []string{"gone"}) || slices.Equal(clamped, []string{"l"}) != (misfit != "") {
			t.Fatalf("%s over %s: %v, clamped %q, dropped %q", override, limit, err, clamped, dropped)
		}
		got, again := e.Overrides[0].apply(p.Limits[0])
		if again != "" || got.Burst != l.Burst || got.Calendar.Period != l.Calendar.Period ||
			l.Kind == KindRate && got.spec().rate() != l.spec().rate() || got.Amount != l.Amount && (l.Amount != 1 || got.Amount != 2) {
			t.Fatalf("%s over %s is written as %s (%s), which is %+v; want %+v", override, limit, e.Body(), again, got, l)
		}
	})
}
