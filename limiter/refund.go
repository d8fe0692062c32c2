package limiter

import "slices"

// Receipt is what has to be known of a charge to refund it: the counter's Total and Mark after it, and its units.
type Receipt struct {
	Total int64
	Mark  Instant
	Units int64
}

// Refund is Units given back of the charge after which a counter's Total was Charge.
type Refund struct {
	Charge int64
	Units  int64
}

// Refunds are those of a counter whose place in the queue has not drained yet, by Charge. Immutable.
type Refunds []Refund

// maxRefunds bounds what a counter keeps. When there are more, neighbours are taken together.
const maxRefunds = 32

// Refund gives back up to so many units of a charge, the newest first, and returns how many it gave back: only what has
// not drained, for giving back more would let the next caller in above the limit. The state is an advanced one.
//
// A unit that has drained in part counts as one, and its rest is given back.
//
// Units drain first in, first out. Those charged later than the receipt's are the counter's Total since, less what was
// refunded of them; whatever the counter holds beyond those belongs to the receipt's charge. Of a quota, a charge can be
// refunded until its window ends.
func (t *Terms) Refund(s State, r Receipt, units int64, now Instant) (State, int64) {
	units = min(units, r.Units)
	switch {
	case units <= 0:
		return s, 0
	case t.Limit.Kind != KindRate:
		if s.Mark != r.Mark {
			return s, 0
		}
		units = min(units, s.Used)
		s.Used -= units
		return s, units
	case r.Total > s.Total || s.Total >= maxUnits || r.Mark < s.Born: // another counter, for all that can be told
		return s, 0
	}
	later := s.since(r.Total)
	if units = min(units, s.whole()-later); units <= 0 {
		return s, 0
	}
	if s.Used -= units; s.Used < later { // all that is left of the charge, the last unit in part
		s.Used, s.Part = later, 0
	}
	s.Refunds = s.Refunds.with(Refund{r.Total, units}, s)
	return s, units
}

// since is how many units were charged after Total was that much and not refunded.
func (s State) since(total int64) int64 {
	later := s.Total - total
	for _, r := range s.Refunds.all() {
		if r.Charge > total {
			later -= r.Units
		}
	}
	return later
}

func (r *Refunds) all() Refunds {
	if r == nil {
		return nil
	}
	return *r
}

// with is r with one more, without those whose place in the queue of s has drained. When there are too many, the two
// nearest become one in the place of the earlier: a charge between them is then refunded less than it might be.
func (r *Refunds) with(more Refund, s State) *Refunds {
	next := make(Refunds, 0, len(r.all())+1)
	at, found := slices.BinarySearchFunc(r.all(), more.Charge, func(e Refund, c int64) int { return int(e.Charge - c) })
	next = append(append(append(next, r.all()[:at]...), more), r.all()[at:]...)
	if found {
		next[at+1].Units += more.Units
		next = slices.Delete(next, at, at+1)
	}
	beyond := s.Total // less the refunds beyond: what is charged later than the place that is looked at
	first := len(next)
	for first > 0 && s.whole() > beyond-next[first-1].Charge {
		first--
		beyond -= next[first].Units
	}
	next = next[first:]
	if len(next) > maxRefunds {
		nearest := 1
		for i := 2; i < len(next); i++ {
			if next[i].Charge-next[i-1].Charge < next[nearest].Charge-next[nearest-1].Charge {
				nearest = i
			}
		}
		next[nearest-1].Units += next[nearest].Units
		next = slices.Delete(next, nearest, nearest+1)
	}
	if len(next) == 0 {
		return nil
	}
	return &next
}
