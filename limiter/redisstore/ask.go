package redisstore

import (
	"sync"

	"github.com/permitd/permitd/limiter"
)

// call is one call of Decide: the asks that its caller waits for. The charges belong to the caller, who may leave at any
// time and take them along.
type call struct {
	mu   sync.Mutex
	gone bool // the caller has left: its charges must not be touched any more
	open int  // asks without an answer
	done chan struct{}
}

// ask is a charge on its way. charge may only be looked at under the call's mutex while the caller has not gone.
type ask struct {
	call   *call
	charge *limiter.Charge
	lines  int // of the charge, for when the caller has gone
}

// encode adds the ask to a batch, unless its caller has gone.
func (a *ask) encode(b *batch) {
	a.call.mu.Lock()
	defer a.call.mu.Unlock()
	if !a.call.gone {
		b.add(a)
	}
}

// answer has f fill in the outcome, and reports whether there was still somebody to answer.
func (a *ask) answer(f func(*limiter.Charge)) bool {
	a.call.mu.Lock()
	defer a.call.mu.Unlock()
	if a.call.gone {
		return false
	}
	f(a.charge)
	if a.call.open--; a.call.open == 0 {
		close(a.call.done)
	}
	return true
}

// fail answers an ask about which nothing was decided.
func (a *ask) fail(err error) {
	a.answer(func(c *limiter.Charge) { c.Outcome = limiter.Outcome{Err: err} })
}

// leave takes the caller's charges out of reach, and gives those that were not answered the reason.
func (k *call) leave(charges []*limiter.Charge, why error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone = true
	for _, c := range charges {
		if c.Outcome.Verdict == 0 && c.Outcome.Err == nil {
			c.Outcome.Err = why
		}
	}
}
