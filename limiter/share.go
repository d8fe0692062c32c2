package limiter

import (
	"slices"
	"time"
)

// part is what one instance may give out while no instance can see the others: of n equal ones, the at-th from 0. -1 is one
// that does not know which it is.
type part struct{ n, at int64 }

// peers are the instances that share a store, as last seen.
type peers struct {
	n     int64
	at    int64     // the place of this one among them, -1 where it is not
	fewer time.Time // since when every heartbeat was answered and showed fewer; zero: the last one did not
}

// seen takes note of who shares the store. That they are fewer holds when it was so for a whole life of an instance: a store that
// was away, or was emptied, has forgotten those who have not announced themselves again.
func (c *Coordinator) seen(all []Instance) {
	p := peers{n: int64(len(all)), at: -1}
	if self := c.self.Load(); self != nil {
		p.at = int64(slices.IndexFunc(all, func(i Instance) bool { return i.ID == self.ID }))
	}
	if last := c.peers.Load(); last != nil && p.n < last.n {
		since := last.fewer
		if since.IsZero() {
			since = time.Now()
		}
		if time.Since(since) < InstanceLife {
			p = peers{last.n, last.at, since}
		}
	}
	c.peers.Store(&p)
}

// unseen takes note of a heartbeat that was not answered.
func (c *Coordinator) unseen() {
	if last := c.peers.Load(); last != nil {
		c.peers.Store(&peers{n: last.n, at: last.at})
	}
}

// part is this instance's.
func (c *Coordinator) part() part {
	p := part{c.minInstances, -1}
	if last := c.peers.Load(); last != nil {
		if last.n >= p.n { // else others are about to take part, and may come before it
			p.at = last.at
		}
		p.n = min(max(p.n, last.n), MaxInstances)
	}
	if p.n == 1 {
		p.at = 0
	}
	return p
}

// of are the terms of a limit for an instance that has only its part of it. A rate runs at exactly an n-th of the speed, with
// an n-th of the burst, at least 1; what is counted in whole units is dealt out without remainder, the first ones getting
// one more. An instance that does not know its place leaves the remainder to others.
func (p part) of(t *Terms) *Terms {
	limit := *t.Limit
	mine := &Terms{Limit: &limit, Counter: t.Counter}
	share := limit.Burst / p.n
	switch {
	case limit.Kind == KindRate:
		limit.Burst = max(1, share)
		rate := t.Schedule.current().Rate
		mine.Schedule = Schedule{Changes: []RateChange{{0, Rate{rate.Units, rate.Per * p.n}}}}
	case p.at >= 0 && p.at < limit.Burst%p.n:
		limit.Burst = share + 1
	default:
		limit.Burst = share
	}
	return mine
}

// shadowed are terms that are charged whatever they hold, and deny nothing.
func (t *Terms) shadowed() *Terms {
	limit := *t.Limit
	limit.Mode = Shadow
	return &Terms{Limit: &limit, Counter: t.Counter, Schedule: t.Schedule}
}
