package main

import (
	"fmt"
	"slices"
	"time"
)

// phase is a part of a run in which there was one fault.
type phase struct {
	fault   fault
	from    int64 // what was asked later belongs to it
	begun   span  // while the fault was made
	usable  int64 // when Redis could be used again
	site    *site
	stalls  *stalls
	answers []answer                        // of asks that were sent in it
	holds   []held                          // that were granted in it
	outages [numInstances][numProviders]int // how often an instance began to answer for a provider without Redis, as it says
}

// standard is what a run is held against. What is exact has no standard: bounds, documents, slots and sums.
type standard struct {
	answered  time.Duration // 99.9 % of answers while something is wrong, less what the machine held them up
	recovered time.Duration
	outages   int     // how often an instance may lose Redis by one fault
	stray     float64 // share of the asks long before and after a fault that Redis may not have decided
}

var (
	// goals are those of the project.
	goals = standard{100 * time.Millisecond, 2 * time.Second, 1, 0}
	// busy is what a machine with much else to do is held against.
	busy = standard{time.Second, 5 * time.Second, 30, 0.3}
)

// check is one thing that has to be so.
type check struct {
	what, found, wanted string
	ok                  bool
}

// verdict is what came of a phase.
type verdict struct {
	checks  []check
	kinds   [numKinds]int
	p999    time.Duration
	slowest time.Duration
	late    int // answers beyond the goal

	p999Own, slowestOwn time.Duration // without what the machine held them up
	lateOwn             int

	recovered time.Duration
	outages   int   // how often an instance lost Redis, at most
	rpm       bound // of the first provider, over all
}

func (v *verdict) ok() bool {
	return !slices.ContainsFunc(v.checks, func(c check) bool { return !c.ok })
}

func (v *verdict) check(ok bool, what, wanted, found string, args ...any) {
	v.checks = append(v.checks, check{what, fmt.Sprintf(found, args...), wanted, ok})
}

// atMost checks numbers.
func (v *verdict) atMost(what string, found, bound int) {
	v.check(found <= bound, what, fmt.Sprintf("at most %d", bound), "%d", found)
}

// within checks times.
func (v *verdict) within(what string, found, bound time.Duration) {
	v.check(found <= bound, what, "at most "+short(bound), "%s", short(found))
}

// judge holds a phase against a standard.
func (p *phase) judge(s standard) *verdict {
	v := &verdict{}
	p.kindsOf(v, s)
	p.recovery(v, s)
	for provider := range numProviders {
		for i := range numInstances {
			v.outages = max(v.outages, p.outages[i][provider])
		}
	}
	v.atMost("times that an instance lost Redis", v.outages, s.outages)
	p.speed(v, s)
	p.bounds(v)
	p.slots(v)
	return v
}

// kindsOf counts answers, and checks that each provider's are those that its policy says.
func (p *phase) kindsOf(v *verdict, s standard) {
	var by [numProviders][numKinds]int
	for i := range p.answers {
		a := &p.answers[i]
		v.kinds[a.kind]++
		by[a.provider][a.kind]++
	}
	v.atMost("other answers", v.kinds[other], 0)
	for provider, n := range by {
		what := failModes[provider] + ": "
		here := n[grantedHere] + n[deniedHere]
		switch {
		case p.fault.unseen || !p.site.affected(provider):
			v.atMost(p.site.providers[provider]+": answers without Redis", here+n[unavailable], s.strays(p))
		case failModes[provider] == "deny":
			v.atMost(what+"answers without Redis", here, 0)
			v.check(n[unavailable] > 0, what+"503", "some, else nothing was tried", "%d", n[unavailable])
		default:
			v.atMost(what+"503", n[unavailable], 0)
			v.check(n[grantedHere] > 0, what+"granted without Redis", "some, else nothing was tried", "%d", n[grantedHere])
		}
	}
}

func (s standard) strays(p *phase) int { return int(s.stray * float64(len(p.answers))) }

// pauseBetween tells one outage from a later one.
const pauseBetween = 500_000 // µs

// recovery is from when Redis could be used to the last answer without it.
func (p *phase) recovery(v *verdict, s standard) {
	var abnormal []int64
	for i := range p.answers {
		if a := &p.answers[i]; !a.kind.normal() {
			abnormal = append(abnormal, a.to)
		}
	}
	slices.Sort(abnormal)
	last, stray := p.usable, 0
	for _, at := range abnormal {
		if at < p.begun.from || at > last+pauseBetween {
			stray++
		} else {
			last = max(last, at)
		}
	}
	v.recovered = time.Duration(last-p.usable) * time.Microsecond
	v.within("time to recover", v.recovered, s.recovered)
	v.atMost("answers without Redis long before or after", stray, s.strays(p))
}

// speed is how long those waited who asked when something was wrong.
func (p *phase) speed(v *verdict, s standard) {
	var took, own []time.Duration
	for i := range p.answers {
		a := &p.answers[i]
		if a.to < p.begun.from || a.from > p.usable+v.recovered.Microseconds() {
			continue
		}
		d := time.Duration(a.to-a.from) * time.Microsecond
		took = append(took, d)
		own = append(own, d-time.Duration(p.stalls.within(a.span))*time.Microsecond)
		if d > goals.answered {
			v.late++
		}
		if own[len(own)-1] > goals.answered {
			v.lateOwn++
		}
	}
	v.p999, v.slowest = slow999(took)
	v.p999Own, v.slowestOwn = slow999(own)
	v.within("99.9 % of answers, less what the machine held them up", v.p999Own, s.answered)
}

// slow999 is what 999 of 1000 are within, and what all are.
func slow999(took []time.Duration) (p999, slowest time.Duration) {
	if len(took) == 0 {
		return 0, 0
	}
	slices.Sort(took)
	return took[(len(took)*999-1)/1000], took[len(took)-1]
}
