package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// split gives each replica its part of every limit, which it keeps by itself: no replica knows of the others. Whoever
// doesn't fit waits in line, as rate.Limiter.WaitN does.
type split struct {
	limits   ownLimits
	cost     costRule
	replicas []*splitReplica
}

type splitReplica struct {
	provider *rate.Limiter

	mu       sync.Mutex
	accounts map[string]*rate.Limiter
}

func newSplit(replicas int, limits ownLimits, cost costRule) *split {
	s := &split{limits: limits, cost: cost}
	for i := range replicas {
		s.replicas = append(s.replicas, &splitReplica{provider: limits.provider.part(i, replicas), accounts: map[string]*rate.Limiter{}})
	}
	return s
}

// part is the limiter of the i-th of n replicas. The first ones get what is left over of the burst, so that all together
// have all of it.
func (l rateLimit) part(i, n int) *rate.Limiter {
	perSecond := float64(l.amount) / l.per.Seconds() / float64(n)
	return rate.NewLimiter(rate.Limit(perSecond), int(l.burstOf(i, n)))
}

func (l rateLimit) burstOf(i, n int) int64 {
	burst := l.burst / int64(n)
	if int64(i) < l.burst%int64(n) {
		burst++
	}
	return burst
}

// checkSplit refuses limits of which a replica's part never lets the largest request through. The provider is named as by
// plan.of.
func checkSplit(provider string, replicas int, largest int64, limits ...*rateLimit) error {
	for _, l := range limits {
		if l == nil {
			continue
		}
		if least := l.burstOf(replicas-1, replicas); largest > least {
			return fmt.Errorf("the largest request%s costs %d tokens and with split each of %d replicas never lets more than %d through at once (limit %s): raise --burst or --capacity, or lower --replicas",
				provider, largest, replicas, least, l.name)
		}
	}
	return nil
}

func (r *splitReplica) accountLimiter(account string, make func() *rate.Limiter) *rate.Limiter {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.accounts[account] == nil {
		r.accounts[account] = make()
	}
	return r.accounts[account]
}

func (s *split) asker(replica int, r *row) asker { return &splitAsker{s, replica, r} }

type splitAsker struct {
	*split
	replica int
	row     *row
}

// ask takes a place in the line of each limit; the call may go when the last of them comes up.
func (a *splitAsker) ask(context.Context) (verdict, error) {
	now, n := time.Now(), int(a.cost.of(a.row))
	mine := a.replicas[a.replica]
	places := []*rate.Reservation{mine.provider.ReserveN(now, n)}
	names := []string{a.limits.provider.name}
	account := a.limits.account
	if account != nil {
		limiter := mine.accountLimiter(a.limits.accountOf(a.row.Key), func() *rate.Limiter { return account.part(a.replica, len(a.replicas)) })
		places, names = append(places, limiter.ReserveN(now, n)), append(names, account.name)
	}
	v := verdict{granted: true, leave: func() {
		for _, p := range places {
			p.Cancel()
		}
	}}
	for i, p := range places {
		if !p.OK() { // checkSplit keeps this from happening
			return verdict{}, fmt.Errorf("limit %s can never let %d tokens through", names[i], n)
		}
		if d := p.DelayFrom(now); d > 0 {
			v.wait, v.by = max(v.wait, d), append(v.by, names[i])
		}
	}
	v.ofAccount = len(v.by) == 1 && account != nil && v.by[0] == account.name
	return v, nil
}
