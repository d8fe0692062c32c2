package main

import (
	"errors"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// answerKind is how an ask for a permit was answered.
type answerKind int

// Kinds from answerDegradedGrant on went wrong in some way.
const (
	answerGrant answerKind = iota
	answerDenial
	answerDegradedGrant  // by a permitd that does not reach its store
	answerDegradedDenial // likewise
	answerUndecided      // 502, 503 or 504
	answerNone           // no answer at all
	answerFault          // an answer that an ask should never get
	answerKinds          // how many there are
)

// kindOf is the kind of what an ask returned.
func kindOf(v verdict, err error) answerKind {
	var call *callError
	switch {
	case errors.As(err, &call) && noDecision(err) && call.status == 0:
		return answerNone
	case noDecision(err):
		return answerUndecided
	case err != nil:
		return answerFault
	case v.granted && v.degraded:
		return answerDegradedGrant
	case v.granted:
		return answerGrant
	case v.degraded:
		return answerDegradedDenial
	}
	return answerDenial
}

// course is how asks for permits went over time: when they were answered, in which way, and how long that took. It keeps
// chartPoints slots at most: when time goes on beyond them, they become twice as long.
type course struct {
	now   func() time.Duration
	slots []courseSlot
	width int           // of each slot, in units
	unit  time.Duration // a slot of a flow
}

// courseSlot is of the asks that were answered within one slot of time.
type courseSlot struct {
	kinds [answerKinds]answerCount
	took  *hdrhistogram.Histogram // from when an ask was due, in units of tookUnit; nil: there was none
}

// answerCount is how many asks were answered, and when the first and the last of them were.
type answerCount struct {
	n           int64
	first, last time.Duration
}

// add takes in further answers of the same kind.
func (a *answerCount) add(b answerCount) {
	switch {
	case b.n == 0:
		return
	case a.n == 0:
		*a = b
		return
	}
	a.n += b.n
	a.first, a.last = min(a.first, b.first), max(a.last, b.last)
}

// Two digits of up to ten minutes take 20 KB for each slot.
const (
	tookUnit    = 10 * time.Microsecond
	tookHighest = int64(10 * time.Minute / tookUnit)
)

// newCourse begins with slots as fine as those of a flow.
func newCourse(unit time.Duration, now func() time.Duration) *course {
	return &course{now: now, width: 1, unit: unit}
}

// add takes in an ask that is answered now. A course that is nil keeps nothing.
func (c *course) add(kind answerKind, took time.Duration) {
	if c == nil {
		return
	}
	now := c.now()
	i := int(now / c.slot())
	for ; i >= chartPoints; i /= 2 {
		c.slots = gatherCourse(c.slots, 2, (len(c.slots)+1)/2)
		c.width *= 2
	}
	for len(c.slots) <= i {
		c.slots = append(c.slots, courseSlot{})
	}
	s := &c.slots[i]
	s.kinds[kind].add(answerCount{1, now, now})
	if s.took == nil {
		s.took = hdrhistogram.New(1, tookHighest, 2)
	}
	_ = s.took.RecordValue(min(tookHighest, max(1, int64(took/tookUnit)))) // in range
}

// gatherCourse sums slots into pieces of n, so many as are asked for; those beyond the end are empty.
func gatherCourse(slots []courseSlot, n, pieces int) []courseSlot {
	sums := make([]courseSlot, pieces)
	for i, s := range slots {
		at := i / n
		if at >= pieces {
			break
		}
		sum := &sums[at]
		for kind, count := range s.kinds {
			sum.kinds[kind].add(count)
		}
		switch {
		case s.took == nil:
		case sum.took == nil:
			sum.took = s.took.Clone()
		default:
			sum.took.Merge(s.took)
		}
	}
	return sums
}

// units is how many slots of a flow the course lasts.
func (c *course) units() int {
	if c == nil {
		return 0
	}
	return len(c.slots) * c.width
}

// gather sums it into pieces of so many units: a power of two, and no less than the course's own slots have.
func (c *course) gather(units, pieces int) []courseSlot {
	if c == nil {
		return make([]courseSlot, pieces)
	}
	return gatherCourse(c.slots, units/c.width, pieces)
}

// p99 is in milliseconds; false where no ask was answered.
func (s *courseSlot) p99() (float64, bool) {
	if s.took == nil {
		return 0, false
	}
	return float64(s.took.ValueAtQuantile(99)) * float64(tookUnit) / float64(time.Millisecond), true
}

// courseReport is a course as JSON.
type courseReport struct {
	SlotS float64           `json:"slot_s"`
	Slots []courseSlotCount `json:"slots"` // the i-th is of what was answered from i·slot_s on
}

type courseSlotCount struct {
	Granted         int64    `json:"granted"`
	Denied          int64    `json:"denied"`
	DegradedGranted int64    `json:"degraded_granted"`
	DegradedDenied  int64    `json:"degraded_denied"`
	NoDecision      int64    `json:"no_decision"` // 502, 503 or 504
	NoAnswer        int64    `json:"no_answer"`
	Failed          int64    `json:"failed"`
	P99MS           *float64 `json:"p99_ms,omitempty"` // of all of them; absent where there is none
}

func (c *course) report() *courseReport {
	if c == nil || len(c.slots) == 0 {
		return nil
	}
	r := &courseReport{SlotS: c.slot().Seconds()}
	for _, s := range c.slots {
		n := courseSlotCount{s.kinds[answerGrant].n, s.kinds[answerDenial].n, s.kinds[answerDegradedGrant].n, s.kinds[answerDegradedDenial].n,
			s.kinds[answerUndecided].n, s.kinds[answerNone].n, s.kinds[answerFault].n, nil}
		if ms, ok := s.p99(); ok {
			n.P99MS = &ms
		}
		r.Slots = append(r.Slots, n)
	}
	return r
}

// slot is how long the slots are.
func (c *course) slot() time.Duration { return c.unit * time.Duration(c.width) }
