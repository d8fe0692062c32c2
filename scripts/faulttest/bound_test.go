package main

import (
	"testing"

	"pgregory.net/rapid"
)

// at is when a grant was made, if that is known to the microsecond.
func at(times ...int64) (grants []span) {
	for _, t := range times {
		grants = append(grants, span{t, t})
	}
	return grants
}

func TestPeak(t *testing.T) {
	perTen := rate{1, 10} // a unit in 10 µs
	for _, c := range []struct {
		what   string
		grants []span
		want   int64 // in tenths of a unit
	}{
		{"none", nil, 0},
		{"one", at(5), 10},
		{"two at once", at(5, 5), 20},
		{"two at the rate", at(5, 15), 10},
		{"two a little too fast", at(5, 14), 11},
		{"slow ones before don't count", at(0, 1000, 1000, 1001), 29},
		{"a burst at the end", at(0, 10, 20, 30, 30, 30), 30},
		{"a burst, and then too fast for long", at(0, 0, 5, 10, 15, 20), 40},
		{"which may have been slow enough", []span{{0, 20}, {5, 15}}, 0},
		{"one of them certainly within the other's interval", []span{{0, 20}, {5, 5}, {5, 5}}, 20},
	} {
		if got := peak(c.grants, perTen); got != c.want {
			t.Errorf("%s: %d tenths, want %d", c.what, got, c.want)
		}
	}
}

// Every interval that begins with a grant and ends with one, by hand.
func TestPeakAgreesWithAllIntervals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := rate{rapid.Int64Range(1, 5).Draw(t, "units"), rapid.Int64Range(1, 20).Draw(t, "per")}
		var grants []span
		for range rapid.IntRange(1, 20).Draw(t, "grants") {
			from := rapid.Int64Range(0, 60).Draw(t, "from")
			grants = append(grants, span{from, from + rapid.Int64Range(0, 15).Draw(t, "took")})
		}
		want := int64(never)
		for _, a := range grants {
			for _, b := range grants {
				n := int64(0)
				for _, g := range grants {
					if g.from >= a.from && g.to <= b.to {
						n++
					}
				}
				if n > 0 {
					want = max(want, n*r.per-r.units*(b.to-a.from))
				}
			}
		}
		if got := peak(grants, r); got != want {
			t.Fatalf("peak of %v under %v is %d, want %d", grants, r, got, want)
		}
	})
}

// A bucket's own grants are never above its burst, and those of a larger one are found out.
func TestPeakOfBuckets(t *testing.T) {
	r := rate{60, 1_000_000}
	granted := func(burst int64) (grants []span) {
		level, last := int64(0), int64(0)
		for now := int64(0); now < 20_000_000; now += 2_777 { // asks come six times as fast
			level = max(0, level-r.units*(now-last))
			if last = now; level+r.per <= r.scaled(burst) {
				level += r.per
				grants = append(grants, span{now - 900, now + 1700})
			}
		}
		return grants
	}
	if got := peak(granted(15), r); got > r.scaled(15) || got < r.scaled(14) {
		t.Errorf("a burst of 15 seems to be %v", float64(got)/float64(r.per))
	}
	if got := peak(granted(16), r); got <= r.scaled(15) {
		t.Errorf("a burst of 16 seems to be %v, within 15", float64(got)/float64(r.per))
	}
}

func TestMostAtOnce(t *testing.T) {
	if got := mostAtOnce([]span{{0, 10}, {10, 20}, {5, 12}, {11, 12}, {30, 40}}); got != 3 {
		t.Errorf("%d at once, want 3", got)
	}
}

func TestOverlap(t *testing.T) {
	a, b := []span{{0, 10}, {5, 20}, {40, 50}}, []span{{8, 9}, {15, 45}, {16, 17}}
	if got := overlap(a, b); got != 1+5+5 {
		t.Errorf("%d µs, want 11", got)
	}
}
