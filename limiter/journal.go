package limiter

import (
	"slices"
	"sync"
)

// journal is what was granted in an outage and has not been charged where all instances see it.
type journal struct {
	mu sync.Mutex
	page
	closed map[string]bool // permits that were closed here
}

// page is what was written down in a journal since it was last taken.
type page struct {
	counters map[tallied]*charged
	holds    map[string]*Ask // by permit id: that were not closed
	once     map[string]*Ask // by onceID: of grants without a hold
}

// tallied is a counter that was charged.
type tallied struct{ limit, subject, model string }

func (l reservedLine) tallied() tallied { return tallied{l.Limit, l.Subject, l.Model} }

// charged is how much was charged to a counter, and how to come by it: an ask's key and pool, and the line.
type charged struct {
	keyID, pool string
	line        reservedLine
	units       int64
}

// note writes down what was granted.
func (j *journal) note(a *attempt, r *reservation) {
	ask := *a.ask
	ask.Cost = slices.Clone(ask.Cost)
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counters == nil {
		j.page = page{map[tallied]*charged{}, map[string]*Ask{}, map[string]*Ask{}}
	}
	for i, l := range r.Lines {
		if l.Cost > 0 && a.charge.Lines[i].Terms.Limit.Kind != KindConcurrency {
			j.add(r, l, l.Cost)
		}
	}
	switch {
	case a.charge.Hold != nil:
		j.holds[a.charge.PermitID] = &ask
	case a.charge.Once != nil:
		j.once[a.charge.Once.ID] = &ask
	}
}

// add charges units more, or less, to a counter.
func (p *page) add(r *reservation, l reservedLine, units int64) {
	at := l.tallied()
	ct := p.counters[at]
	if ct == nil {
		ct = &charged{keyID: r.KeyID, pool: r.Pool, line: l}
		p.counters[at] = ct
	}
	ct.units += units
}

// closing takes in what closing a hold here did to its counters.
func (p *page) closing(h *Hold, r *reservation) {
	for i, l := range r.Lines {
		if n := h.Changes[i].Adjusted; n != 0 {
			p.add(r, l, n)
		}
	}
}

// take is what was written down since it was last taken.
func (j *journal) take() page {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.page
	j.page = page{}
	return p
}

// has reports whether a hold was granted here and is closed and extended here.
func (j *journal) has(permitID string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.holds[permitID] != nil || j.closed[permitID]
}

// amended says how a hold is that was closed or extended here, and returns whether that counts: not when it was handed over
// meanwhile.
func (j *journal) amended(permitID string, h *Hold, r *reservation) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.holds[permitID] != nil && h != nil && h.Status != HoldOpen {
		delete(j.holds, permitID)
		j.close(permitID)
		j.closing(h, r)
	}
	return j.holds[permitID] != nil || j.closed[permitID]
}

// wasClosed says that a hold that was taken turned out to be closed here.
func (j *journal) wasClosed(permitID string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.close(permitID)
}

// close remembers a permit that was closed. The lock is held.
func (j *journal) close(permitID string) {
	if j.closed == nil {
		j.closed = map[string]bool{}
	}
	j.closed[permitID] = true
}
