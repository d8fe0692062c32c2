package limiter

import (
	"cmp"
	"math"
	"math/bits"
	"time"
)

// Instant is a moment on the store's clock in microseconds since the Unix epoch. The store's clock is the only one
// that decides; what an instance believes the time to be is at most a guess that the store checks.
type Instant int64

// InstantOf is t in microseconds, rounded down.
func InstantOf(t time.Time) Instant { return Instant(t.UnixMicro()) }

// Time is i in UTC.
func (i Instant) Time() time.Time { return time.UnixMicro(int64(i)).UTC() }

// Forever is what a wait saturates at: a limit of 1 per 31 days with a burst of 1e12 would take longer to drain than
// an int64 counts.
const Forever = 100 * 365 * 24 * time.Hour

// forever is later than any other moment.
const forever Instant = math.MaxInt64

// maxUnits bounds every count of units, so that sums stay exact in a Lua number too (2^53 is about 9.0e15).
const maxUnits = 4_000_000_000_000_000

// Rate is a speed: Units drain in every Per microseconds. Both are positive in a rate that drains; the zero Rate drains
// nothing.
type Rate struct {
	Units int64 `json:"units"`
	Per   int64 `json:"per_us"`
}

// slower reports whether r drains less than o in the same time. The zero Rate is slower than any other.
func (r Rate) slower(o Rate) bool {
	if r.Units == 0 || o.Units == 0 {
		return r.Units == 0 && o.Units != 0
	}
	return compare128(mul128(r.Units, o.Per), mul128(o.Units, r.Per)) < 0
}

// State is what a store keeps of one counter. It counts units, not time, so that an edit of a limit loses nothing:
//
// For a rate it is the level of a leaky bucket, the continuous-state form of GCRA that ITU-T I.371 (annex A) gives as the twin
// of virtual scheduling: the debt at Mark was Used + Part/Rate.Per units, with 0 <= Part < Rate.Per, and it drains at
// Rate, in force by the change of Since (which is later than Mark where the clock stepped back). For a quota, Used units
// were charged in the window that ends at Mark. For concurrency, Used slots are held, the last of which expires at Mark.
// The zero State is an untouched counter.
//
// Total is how many units were ever charged, held at 4e15, and Refunds are what was given back of those that have not
// drained. They tell what of a charge can still be refunded. Born is when a rate's counter was made: what was charged
// before went to one that was forgotten.
type State struct {
	Used    int64
	Part    int64
	Mark    Instant
	Rate    Rate
	Since   Instant
	Born    Instant
	Total   int64
	Refunds *Refunds
}

// whole is the debt in units, rounded up: what the next cost is added to.
func (s State) whole() int64 {
	if s.Part > 0 {
		return s.Used + 1
	}
	return s.Used
}

// drainTo lets time pass until now at the state's own rate. A clock that stepped back drains nothing and restarts the
// measure there. The result is exact: Used + Part/Per less Units·elapsed/Per, and never below zero.
func (s State) drainTo(now Instant) State {
	elapsed := int64(now - s.Mark)
	s.Mark = now
	if elapsed <= 0 || s.Used == 0 && s.Part == 0 || s.Rate.Units == 0 {
		return s
	}
	turns, rest := elapsed/s.Rate.Per, elapsed%s.Rate.Per
	if turns > s.Used/s.Rate.Units { // also keeps turns·Units in range
		return s.empty()
	}
	hi, lo := bits.Mul64(uint64(rest), uint64(s.Rate.Units))
	units, part := bits.Div64(hi, lo, uint64(s.Rate.Per)) // rest < Per, so units < Units and the division can't overflow
	s.Used -= turns*s.Rate.Units + int64(units)
	s.Part -= int64(part)
	if s.Part < 0 {
		s.Part += s.Rate.Per
		s.Used--
	}
	if s.Used < 0 || s.Used == 0 && s.Part == 0 {
		return s.empty()
	}
	return s
}

// empty is the state with nothing in it.
func (s State) empty() State {
	s.Used, s.Part, s.Refunds = 0, 0, nil
	return s
}

// under is the state measured in parts of another rate. A part that the new rate can't express is rounded up, by less
// than one part: an edit never gives units back.
func (s State) under(r Rate) State {
	if s.Part > 0 && s.Rate.Per != r.Per {
		hi, lo := bits.Mul64(uint64(s.Part), uint64(r.Per))
		part, rest := bits.Div64(hi, lo, uint64(s.Rate.Per)) // Part < Per, so part < r.Per
		if rest > 0 {
			part++
		}
		if s.Part = int64(part); s.Part == r.Per {
			s.Used, s.Part = s.Used+1, 0
		}
	}
	s.Rate = r
	return s
}

// waitFor is the time until the debt is at most level if nothing more is charged, in microseconds rounded up, and at
// most [Forever].
func (s State) waitFor(level int64) time.Duration {
	over := s.Used - level // whole units to drain, and the part
	if over < 0 || over == 0 && s.Part == 0 {
		return 0
	}
	if s.Rate.Units == 0 {
		return Forever
	}
	hi, lo := bits.Mul64(uint64(over), uint64(s.Rate.Per))
	lo, carry := bits.Add64(lo, uint64(s.Part), 0)
	hi += carry
	if hi >= uint64(s.Rate.Units) {
		return Forever
	}
	micros, rest := bits.Div64(hi, lo, uint64(s.Rate.Units))
	if rest > 0 {
		micros++
	}
	return micro(micros)
}

// retention is how long a counter of a rate is kept after it would have drained, in d, at the rate it was written under:
// nine times d, but no less than a minute and no more than a day. An edit may slow a limit down meanwhile, and then the
// debt of a counter that nobody touched lasts longer than was foreseen.
func retention(d time.Duration) time.Duration {
	const least, most, times = time.Minute, 24 * time.Hour, 9
	return max(least, min(d, most/times)*times)
}

// Drained reports whether by now the state, if nobody touched it and no edit slowed the limit down, is as good as the
// zero State.
func (s State) Drained(now Instant) bool { return s.drained() <= now }

func (s State) drained() Instant {
	if s.Rate.Units == 0 { // a quota's
		return s.Mark
	}
	return s.Mark.Later(s.waitFor(0))
}

// Expired reports whether a store may forget the state.
func (s State) Expired(now Instant) bool {
	if s.Rate.Units == 0 {
		return s.Mark <= now
	}
	drain := s.waitFor(0)
	return s.Mark.Later(drain).Later(retention(drain)) <= now
}

// micro turns microseconds into a duration that ends at [Forever].
func micro(n uint64) time.Duration {
	if n > uint64(Forever/time.Microsecond) {
		return Forever
	}
	return time.Duration(n) * time.Microsecond
}

// addUnits is a + b, held at maxUnits.
func addUnits(a, b int64) int64 {
	if a > maxUnits-b {
		return maxUnits
	}
	return a + b
}

// mulUnits is a·b for non-negative a and b, held at maxUnits.
func mulUnits(a, b int64) int64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	if hi > 0 || lo > maxUnits {
		return maxUnits
	}
	return int64(lo)
}

// ceilDiv is a/b rounded up for non-negative a and positive b.
func ceilDiv[T ~int64](a, b T) T {
	if a == 0 {
		return 0
	}
	return (a-1)/b + 1
}

func mul128(a, b int64) [2]uint64 {
	hi, lo := bits.Mul64(uint64(a), uint64(b))
	return [2]uint64{hi, lo}
}

func compare128(a, b [2]uint64) int {
	return cmp.Or(cmp.Compare(a[0], b[0]), cmp.Compare(a[1], b[1]))
}

// Later is i + d, in microseconds rounded up, without overflow.
func (i Instant) Later(d time.Duration) Instant {
	if n := Instant(ceilDiv(d, time.Microsecond)); i <= math.MaxInt64-n {
		return i + n
	}
	return forever
}
