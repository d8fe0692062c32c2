package main

import (
	"sync"
	"time"
)

// meter measures how much of the provider's capacity is used while at least one client waits.
//
// A client waits from its first refusal (by permitd or by the provider) until the provider has answered its call, or it
// gives up; but not while only limits of its key or account keep it, since it can't use what the provider has. A stretch is a time in which at least one client waits. What counts as used is what the provider admits, of
// any client, during stretches; less, for each stretch, the cost of the request whose refusal began it: part of that
// may have fitted into room left from before, which is not capacity of the stretch. So the share
//
//	(admitted during stretches - costs that began them) / (amount/per · length of all stretches)
//
// errs on the low side where one limit paces all: only calls that were under way when a stretch began can count too much.
// A provider that is called at will and counts in windows may have a whole amount to give at one moment, so that short
// stretches exceed 1; long ones don't.
type meter struct {
	now func() time.Duration

	mu        sync.Mutex
	waiting   int
	since     time.Duration // when the stretch began
	stretches int
	waited    time.Duration // length of the stretches that are over
	used      int64
	admitted  int64
}

// begin says that a client, whose request costs so much, starts to wait.
func (m *meter) begin(tokens int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting++; m.waiting == 1 {
		m.since = m.now()
		m.stretches++
		m.used -= tokens
	}
}

// end says that a client waits no longer.
func (m *meter) end() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.waiting--; m.waiting == 0 {
		m.waited += m.now() - m.since
	}
}

// admit says that the provider let tokens in.
func (m *meter) admit(tokens int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.admitted += tokens
	if m.waiting > 0 {
		m.used += tokens
	}
}

// usage is what a meter has measured.
type usage struct {
	Admitted  int64         // tokens, all in all
	Used      int64         // tokens, as the share counts them
	Stretches int           // how often somebody began to wait while nobody else did
	Waited    time.Duration // length of all stretches
	Waiting   int           // clients that wait now
}

func (m *meter) read() usage {
	m.mu.Lock()
	defer m.mu.Unlock()
	u := usage{m.admitted, m.used, m.stretches, m.waited, m.waiting}
	if m.waiting > 0 {
		u.Waited += m.now() - m.since
	}
	return u
}

// share of a capacity of amount per per that was used; false when nobody waited.
func (u usage) share(amount int64, per time.Duration) (float64, bool) {
	if u.Waited <= 0 {
		return 0, false
	}
	return float64(u.Used) / capacity(amount, per, u.Waited), true
}

// capacity is what amount per per comes to in a time, in tokens.
func capacity(amount int64, per, in time.Duration) float64 {
	return float64(amount) * float64(in) / float64(per)
}

// waiting is whether one client waits.
type waiting struct {
	meter  *meter
	tokens int64
	on     bool
}

func (w *waiting) set(on bool) {
	switch {
	case on && !w.on:
		w.meter.begin(w.tokens)
	case w.on && !on:
		w.meter.end()
	}
	w.on = on
}
