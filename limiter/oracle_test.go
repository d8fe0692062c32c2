package limiter

import (
	"math/big"
	"math/rand/v2"
	"testing"
	"time"
)

// bucket is the leaky bucket of the guide in integers of any size, with nothing clever in it. It is told of every edit
// when it happens, so it needs no schedule: what the decision has to work out afterwards from a history, it saw.
type bucket struct {
	parts big.Int // the level, in parts of 1/per unit
	per   int64
	at    Instant
	rate  Rate // in force since at

	a, b big.Int // scratch
}

func newBucket(at Instant, r Rate) *bucket { return &bucket{per: r.Per, at: at, rate: r} }

// pass lets time go by: units leak at the rate in force, never below empty; a clock that steps back leaks nothing.
func (k *bucket) pass(now Instant) {
	elapsed := int64(now - k.at)
	k.at = now
	if elapsed <= 0 || k.rate.Units == 0 {
		return
	}
	k.measureIn(k.rate.Per)
	k.a.Mul(k.a.SetInt64(k.rate.Units), k.b.SetInt64(elapsed))
	if k.parts.Sub(&k.parts, &k.a); k.parts.Sign() < 0 {
		k.parts.SetInt64(0)
	}
}

// edit puts another rate in force.
func (k *bucket) edit(now Instant, r Rate) {
	k.pass(now)
	k.rate = r
}

// advance lets time go by up to a decision.
func (k *bucket) advance(now Instant) {
	k.pass(now)
	k.measureIn(k.rate.Per)
}

// measureIn expresses the level in parts of 1/per, rounded up.
func (k *bucket) measureIn(per int64) {
	if per != k.per {
		k.parts.Mul(&k.parts, k.a.SetInt64(per))
		k.ceil(&k.parts, k.per)
		k.per = per
	}
}

// ceil divides n by d, rounding up.
func (k *bucket) ceil(n *big.Int, d int64) *big.Int {
	n.Add(n, k.b.SetInt64(d-1))
	return n.Div(n, k.b.SetInt64(d))
}

// units is n in parts.
func (k *bucket) units(n int64) *big.Int { return k.a.Mul(k.a.SetInt64(n), k.b.SetInt64(k.per)) }

// charge adds units to the level.
func (k *bucket) charge(n int64) { k.parts.Add(&k.parts, k.units(n)) }

// overflow charges up to a level of most whole units.
func (k *bucket) overflow(n, most int64) {
	whole := new(big.Int).Div(&k.parts, big.NewInt(k.per)).Int64()
	k.charge(max(0, min(n, most-whole)))
}

// fits: the level with the cost on top is within the burst.
func (k *bucket) fits(cost, burst int64) bool {
	return cost == 0 || k.parts.Cmp(k.units(burst-cost)) <= 0
}

// remaining is the largest cost that fits.
func (k *bucket) remaining(burst int64) int64 {
	level := new(big.Int).Set(&k.parts)
	return max(0, burst-k.ceil(level, k.per).Int64())
}

// wait is the least number of whole microseconds after which the level is at most that many units.
func (k *bucket) wait(level int64) time.Duration {
	over := new(big.Int).Sub(&k.parts, k.units(level))
	if over.Sign() <= 0 {
		return 0
	}
	if k.ceil(over, k.rate.Units); over.Cmp(big.NewInt(Forever.Microseconds())) > 0 {
		return Forever
	}
	return time.Duration(over.Int64()) * time.Microsecond
}

// holds reports whether a state stands at the very same level.
func (k *bucket) holds(s State) bool {
	if s.Rate != k.rate || s.Mark != k.at || s.Part < 0 || s.Part >= s.Rate.Per {
		return false
	}
	return k.compare(s) == 0
}

// compare is the sign of the state's level less the bucket's; both in parts of one rate.
func (k *bucket) compare(s State) int {
	level := k.units(s.Used)
	return level.Add(level, k.b.SetInt64(s.Part)).Cmp(&k.parts)
}

// TestOracleAgreesWithRationals holds the bucket that the other tests believe against the textbook form of it.
func TestOracleAgreesWithRationals(t *testing.T) {
	seed := seedOf(t)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		f := randomFigures(rng)
		k := newBucket(0, f.rate())
		level, at, rate, per := new(big.Rat), Instant(0), f.rate(), f.rate().Per
		measure := func(in int64) {
			if in == per {
				return
			}
			n := new(big.Rat).Mul(level, new(big.Rat).SetInt64(in))
			up := new(big.Int).Neg(n.Num())
			up.Neg(up.Div(up, n.Denom()))
			level.SetFrac(up, big.NewInt(in))
			per = in
		}
		for range 100 {
			now := at + Instant(rng.Int64N(3*rate.Per)) - Instant(rng.Int64N(rate.Per))
			if now > at {
				measure(rate.Per)
				level.Sub(level, new(big.Rat).Mul(big.NewRat(rate.Units, rate.Per), new(big.Rat).SetInt64(int64(now-at))))
				if level.Sign() < 0 {
					level.SetInt64(0)
				}
			}
			at = now
			if rng.IntN(4) == 0 {
				f = randomFigures(rng)
				rate = f.rate()
				k.edit(now, rate)
			}
			k.advance(now)
			measure(rate.Per)
			n := rng.Int64N(f.burst())
			k.charge(n)
			level.Add(level, new(big.Rat).SetInt64(n))
			if got := new(big.Rat).SetFrac(&k.parts, big.NewInt(k.per)); got.Cmp(level) != 0 {
				t.Fatalf("seed %d: level %v, want %v", seed, got, level)
			}
			burst, w := f.burst(), new(big.Rat)
			if fits := level.Cmp(new(big.Rat).SetInt64(burst-1)) <= 0; fits != k.fits(1, burst) {
				t.Fatalf("seed %d: 1 fits %v at level %v of %d, want %v", seed, !fits, level, burst, fits)
			}
			w.Quo(level, big.NewRat(k.rate.Units, k.rate.Per)) // until empty
			if us := k.wait(0); us < Forever {
				got := new(big.Rat).SetInt64(us.Microseconds())
				if short := new(big.Rat).Sub(got, w); short.Sign() < 0 || short.Cmp(big.NewRat(1, 1)) >= 0 {
					t.Fatalf("seed %d: wait %v, want %v rounded up", seed, got, w)
				}
			}
		}
	}
}
