package main

import "fmt"

// formulas are the bounds that grants are checked against.
const formulas = `Bounds, for a rate limit of R per second with burst B, over every interval of w seconds, with N = 3 instances. Each grant
counts only for intervals in which it was certainly made, between being asked for and being answered:
  store     granted by Redis                             ≤ B + R·w             (before and after data was lost, each by itself)
  instance  granted by one instance without Redis        ≤ K·max(1, ⌊B/N⌋) + R·w/N
  all       granted in all                               ≤ B + the bursts of all instances + R·(w + m), and B more where data was lost;
            K is how often the instance lost Redis, which should be once, m how long some instances had Redis and some had not
Quotas and slots of n, in the same order: n; K·⌈n/N⌉, and K·n over all instances; for quotas in all (1 + K)·n, and n more after a loss.`

// bound is how near a limit came to its bound, in units.
type bound struct{ peak, limit float64 }

// nearer is the one of two that is nearer to its bound, or further beyond it.
func (b bound) nearer(o bound) bound {
	if b.limit == 0 || o.limit > 0 && o.peak/o.limit > b.peak/b.limit {
		return o
	}
	return b
}

func (b bound) String() string { return fmt.Sprintf("%.2f of %.2f", b.peak, b.limit) }

// class is a kind of bounds, of which only the nearest is shown.
type class struct{ limit, what string }

// bounds checks what was admitted.
func (p *phase) bounds(v *verdict) {
	worst := map[class]bound{}
	note := func(limit, what string, peak, bound_ float64) {
		c := class{limit, what}
		worst[c] = worst[c].nearer(bound{peak, bound_})
	}
	for provider := range numProviders {
		all := p.of(provider, func(*answer) bool { return true })
		v.rpm = v.rpm.nearer(p.rate(note, "rpm", all, rpmAmount, rpmBurst))
		for key := range uint8(numKeys) {
			own := p.of(provider, func(a *answer) bool { return a.key == key })
			p.rate(note, "key-rps", own, keyAmount, keyBurst)
			p.quota(note, p.of(provider, func(a *answer) bool { return a.key == key && a.model[:3] == modelFew }))
		}
	}
	for _, limit := range []string{"rpm", "key-rps", "few"} {
		for _, what := range []string{"store", "instance", "instances", "all"} {
			if b, ok := worst[class{limit, what}]; ok {
				v.check(b.peak <= b.limit, "most of "+limit+", "+what, "the bound", "%s", b)
			}
		}
	}
}

type noter func(limit, what string, peak, bound float64)

// of are answers about a provider.
func (p *phase) of(provider int, which func(*answer) bool) (some []*answer) {
	for i := range p.answers {
		if a := &p.answers[i]; int(a.provider) == provider && which(a) {
			some = append(some, a)
		}
	}
	return some
}

// spansOf are those of some answers.
func spansOf(answers []*answer, which func(*answer) bool) (spans []span) {
	for _, a := range answers {
		if which(a) {
			spans = append(spans, a.span)
		}
	}
	return spans
}

// eras splits what the store granted where it lost what it had counted: what was decided by which is not known of a grant that was on
// its way at that time.
func (p *phase) eras(spans []span, forgets bool) [][]span {
	if !forgets {
		return [][]span{spans}
	}
	var before, after []span
	for _, s := range spans {
		if s.to <= p.begun.from {
			before = append(before, s)
		} else if s.from >= p.begun.to {
			after = append(after, s)
		}
	}
	return [][]span{before, after}
}

// rate checks a rate limit, given the answers to asks that it applied to, which are of one provider.
func (p *phase) rate(note noter, limit string, answers []*answer, amount, burst int64) (overall bound) {
	r := rate{amount, second}
	if len(answers) == 0 {
		return bound{}
	}
	provider := int(answers[0].provider)
	forgets := p.site.affected(provider) && (p.fault.loses || p.fault.drains)
	byStore := spansOf(answers, func(a *answer) bool { return a.kind == granted })
	for _, era := range p.eras(byStore, forgets) {
		note(limit, "store", float64(peak(era, r))/second, float64(burst))
	}
	if failModes[provider] == "allow" {
		return bound{}
	}
	share, own := rate{amount, numInstances * second}, max(1, burst/numInstances)
	most := float64(burst) + float64(amount)*p.mixed(provider)
	for i := range uint8(numInstances) {
		here := spansOf(answers, func(a *answer) bool { return a.kind == grantedHere && a.instance == i })
		bursts := own * p.bursts(int(i), provider)
		note(limit, "instance", float64(peak(here, share))/float64(share.per), float64(bursts))
		most += float64(bursts)
	}
	if forgets {
		most += float64(burst)
	}
	both := spansOf(answers, func(a *answer) bool { return a.kind == granted || a.kind == grantedHere })
	overall = bound{float64(peak(both, r)) / second, most}
	note(limit, "all", overall.peak, overall.limit)
	return overall
}

// bursts is how often an instance could grant its burst of a rate: each time that it lost Redis, and once more where the clock that it goes
// by went forward.
func (p *phase) bursts(instance, provider int) int64 {
	n := p.outages[instance][provider]
	if p.fault.drains && n > 0 {
		n++
	}
	return int64(n)
}

// mixed is for how many seconds some instances decided asks about a provider with the store and some without. Between answers
// of different kinds an instance may have done either.
func (p *phase) mixed(provider int) float64 {
	var with, without []span
	for i := range uint8(numInstances) {
		own := p.of(provider, func(a *answer) bool { return a.instance == i && a.kind != other })
		for n, a := range own {
			s := a.span
			if n > 0 {
				s.from = min(s.from, own[n-1].from)
			}
			if n+1 < len(own) {
				s.to = max(s.to, own[n+1].to)
			}
			if a.kind.normal() {
				with = append(with, s)
			} else {
				without = append(without, s)
			}
		}
	}
	return float64(overlap(with, without)) / second
}

// quota checks that of a key, given the answers to asks that it applied to.
func (p *phase) quota(note noter, answers []*answer) {
	if len(answers) == 0 {
		return
	}
	provider := int(answers[0].provider)
	forgets := p.site.affected(provider) && p.fault.loses
	byStore := spansOf(answers, func(a *answer) bool { return a.kind == granted })
	for _, era := range p.eras(byStore, forgets) {
		note("few", "store", float64(len(era)), fewAmount)
	}
	if failModes[provider] == "allow" {
		return
	}
	here, outages := 0, 0
	for i := range uint8(numInstances) {
		n, lost := len(spansOf(answers, func(a *answer) bool { return a.kind == grantedHere && a.instance == i })), p.outages[i][provider]
		note("few", "instance", float64(n), float64(lost*((fewAmount+numInstances-1)/numInstances)))
		here, outages = here+n, max(outages, lost)
	}
	note("few", "instances", float64(here), float64(outages*fewAmount))
	most := (1 + outages) * fewAmount
	if forgets {
		most += fewAmount
	}
	note("few", "all", float64(len(byStore)+here), float64(most))
}

// slots checks how many holds there were at once, and that they could be settled.
func (p *phase) slots(v *verdict) {
	byStore, here, lost, unsettled := 0, 0, 0, 0
	for provider := range numProviders {
		forgets := p.site.affected(provider) && p.fault.loses
		var stored, own []span
		for _, h := range p.holds {
			switch {
			case int(h.provider) != provider:
				continue
			case h.status == 404 && forgets:
				lost++
			case h.status != 200:
				unsettled++
			}
			if h.here {
				own = append(own, h.span)
			} else {
				stored = append(stored, h.span)
			}
		}
		for _, era := range p.eras(stored, forgets) {
			byStore = max(byStore, mostAtOnce(era))
		}
		if failModes[provider] != "allow" {
			here = max(here, mostAtOnce(own))
		}
	}
	v.atMost("slots in use, store", byStore, slotAmount)
	v.atMost("slots in use without Redis, all instances", here, v.outages*slotAmount)
	v.atMost("holds that could not be settled", unsettled, 0)
	if lost > 0 {
		v.check(true, "holds that were lost", "any number", "%d", lost)
	}
}
