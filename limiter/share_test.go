package limiter

import (
	"testing"

	"pgregory.net/rapid"
)

// TestPartsOfLimits deals limits out to instances that all see each other: together they have all of it.
func TestPartsOfLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64Range(1, 200).Draw(t, "instances")
		burst := rapid.Int64Range(1, MaxAmount).Draw(t, "burst")
		if rapid.Bool().Draw(t, "small") {
			burst = burst%300 + 1
		}
		rate := Rate{rapid.Int64Range(1, MaxAmount).Draw(t, "units"), rapid.Int64Range(1000, 31*86400*1e6).Draw(t, "per")}
		of := func(kind Kind, at int64) *Terms {
			whole := &Terms{Limit: &Limit{Kind: kind, Amount: burst, Burst: burst}, Counter: "c"}
			if kind == KindRate {
				whole.Schedule = Schedule{Changes: []RateChange{{Rate: rate}}}
			}
			mine := part{n, at}.of(whole)
			if whole.Limit.Burst != burst || mine.Limit.Amount != burst || mine.Counter != "c" {
				t.Fatal("a part is a limit of its own, with the name and the amount of the whole")
			}
			return mine
		}
		for _, kind := range []Kind{KindQuota, KindConcurrency} {
			sum, least, most := int64(0), burst, int64(0)
			for at := range n {
				share := of(kind, at).Limit.Burst
				sum, least, most = sum+share, min(least, share), max(most, share)
			}
			if sum != burst || most-least > 1 {
				t.Fatalf("%s: %d of %d dealt out to %d, from %d to %d each", kind, sum, burst, n, least, most)
			}
			if share := of(kind, -1).Limit.Burst; share != burst/n {
				t.Fatalf("%s: one that does not know its place takes %d of %d", kind, share, burst)
			}
		}
		sum := int64(0)
		for at := range n {
			mine := of(KindRate, at)
			got := mine.Schedule.current().Rate
			if compare128(mul128(got.Units*n, rate.Per), mul128(rate.Units, got.Per)) != 0 {
				t.Fatalf("%d times %v are not %v", n, got, rate)
			}
			sum += mine.Limit.Burst
		}
		if sum > burst+n-1 || burst >= n && sum <= burst-n {
			t.Fatalf("bursts of %d dealt out of %d to %d", sum, burst, n)
		}
	})
}

// TestPlaces has instances find out how many they are, and which.
func TestPlaces(t *testing.T) {
	c := New(nil, MinInstances(2))
	c.self.Store(&Instance{ID: "b"})
	for _, s := range []struct {
		seen []string
		want part
	}{
		{nil, part{2, -1}},
		{[]string{"b"}, part{2, -1}}, // the other may come before it
		{[]string{"b", "c"}, part{2, 0}},
		{[]string{"a", "b", "c"}, part{3, 1}},
		{[]string{"b"}, part{3, 1}}, // the others may be about to announce themselves again
		{[]string{"a", "b", "c"}, part{3, 1}},
		{[]string{"b"}, part{3, 1}},
	} {
		if s.seen != nil {
			var all []Instance
			for _, id := range s.seen {
				all = append(all, Instance{ID: id})
			}
			c.seen(all)
		}
		if got := c.part(); got != s.want {
			t.Errorf("having seen %v: %+v, want %+v", s.seen, got, s.want)
		}
	}
	if got := New(nil).part(); got != (part{1, 0}) {
		t.Errorf("alone: %+v", got)
	}
}
