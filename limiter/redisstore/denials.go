package redisstore

import (
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/permitd/permitd/limiter"
)

const (
	// denialLife is how long what Redis said of a counter may deny others: by so much a denial may lag behind a raise, a
	// refund or a reset.
	denialLife = 250 * time.Millisecond
	maxDenials = 1 << 14 // counters remembered
)

// denials answer asks that Redis would deny, so that those who ask again and again cost it nothing. A counter that had no
// room for a cost has none, until enough has drained, for the same cost or more under the same terms, whatever else is
// charged meanwhile. Each ask is decided anew by what was last seen of all of its counters; one of which anything is not
// known, or that might be granted, goes to Redis. Dry runs, and asks that are to be granted once, always do.
type denials struct {
	seen *lru.Cache[counterSeen, sighting]
	last atomic.Int64 // when something was last denied, a local time
}

// counterSeen is a counter under certain terms: an edit makes others.
type counterSeen struct {
	terms          *limiter.Terms
	subject, model string
}

// sighting is a counter as it stood at the store's time now, which was at most at here.
type sighting struct {
	state limiter.State
	now   limiter.Instant
	at    time.Duration
}

func newDenials() *denials {
	seen, err := lru.New[counterSeen, sighting](maxDenials)
	if err != nil {
		panic(err) // only for a size below 1
	}
	d := &denials{seen: seen}
	d.last.Store(int64(-denialLife))
	return d
}

// uptime is local time: what has passed on the monotonic clock.
func uptime() time.Duration { return time.Since(began) }

var began = time.Now()

// learn remembers the counters of a charge that was denied just before the local time at. Of one that was granted it
// brings up to date what is remembered.
func (d *denials) learn(c *limiter.Charge, at time.Duration) {
	denied := c.Outcome.Verdict == limiter.Denied
	if c.DryRun || !denied && !d.fresh(at) {
		return
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		id := counterSeen{l.Terms, l.Subject, l.Model}
		if s, known := d.seen.Peek(id); known && s.now > c.Outcome.Now || !known && !denied {
			continue
		}
		d.seen.Add(id, sighting{l.State, c.Outcome.Now, at})
	}
	if denied {
		d.last.Store(int64(at))
	}
}

// changed forgets what is known of counters that closing a hold has changed, so that the next ask is decided by what they
// hold now. What an ask saw before that is not learned afterwards.
func (d *denials) changed(k *limiter.Closing) {
	for i, change := range k.Outcome.Hold.Changes {
		if l := &k.Lines[i]; l.Terms != nil && change.Adjusted != 0 {
			d.seen.Add(counterSeen{l.Terms, l.Subject, l.Model}, sighting{now: k.Outcome.Now, at: -denialLife})
		}
	}
}

// fresh reports whether anything that was learnt may still hold.
func (d *denials) fresh(at time.Duration) bool {
	return at-time.Duration(d.last.Load()) < denialLife
}

// deny fills in the outcome of a charge that Redis would deny at the local time at, and reports whether it did.
func (d *denials) deny(c *limiter.Charge, at time.Duration) bool {
	if !d.fresh(at) || c.DryRun || c.Once != nil || len(c.Lines) == 0 {
		return false
	}
	now, full := limiter.Instant(0), false
	for i := range c.Lines {
		l := &c.Lines[i]
		if l.Terms.Limit.Kind == limiter.KindConcurrency { // a slot may be given back at any time
			return false
		}
		s, ok := d.seen.Get(counterSeen{l.Terms, l.Subject, l.Model})
		if !ok || at-s.at >= denialLife {
			return false
		}
		l.State = s.state
		now = max(now, s.now+limiter.Instant((at-s.at).Microseconds()))
	}
	if now > c.NotAfter {
		return false
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		if l.Terms.Limit.Kind == limiter.KindQuota && !l.Window.Contains(now) {
			return false
		}
		l.State = l.Terms.Advance(l.State, now, l.Window)
		l.Fits = l.Terms.Fits(l.State, l.Needs())
		full = full || !l.Fits && l.Terms.Limit.Mode != limiter.Shadow
	}
	if full {
		c.Outcome = limiter.Outcome{Verdict: limiter.Denied, Now: now}
	}
	return full
}
