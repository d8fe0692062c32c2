package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const fourSlots = `{"limits":{"slots":{"scope":"provider","kind":"concurrency","amount":4}}}`

// flights counts the holds of one instance that are in flight, by provider and by whether the store granted them.
type flights struct {
	*team
	i         int
	providers []string
	alone     map[string][]string // permits by provider
	shared    map[string]int
}

// newFlights has a second provider use the same names.
func newFlights(m *team, i int) *flights {
	m.Helper()
	if i == 0 {
		p, err := limiter.ParsePolicy([]byte(fourSlots))
		if err != nil {
			m.Fatal(err)
		}
		if _, err := m.instances[0].PutPolicy(m.Context(), "twin", p, limiter.Edit{}); err != nil {
			m.Fatal(err)
		}
	}
	f := &flights{team: m, i: i, providers: []string{provider, "twin"}, alone: map[string][]string{}, shared: map[string]int{}}
	for _, p := range f.providers { // so that it has seen the policy
		if _, err := m.instances[i].Usage(m.Context(), limiter.UsageQuery{Provider: p}); err != nil {
			m.Fatal(err)
		}
	}
	return f
}

// take asks for a slot so often at each provider.
func (f *flights) take(n int) {
	f.Helper()
	for k := range 2 * n {
		p := f.providers[k%2]
		d, err := f.instances[f.i].Acquire(f.Context(), limiter.Ask{Provider: p, Key: "sk-1", TTL: 10 * time.Minute})
		switch {
		case err != nil:
			f.Fatal(err)
		case d.Allowed && d.Degraded:
			f.alone[p] = append(f.alone[p], d.PermitID)
		case d.Allowed:
			f.shared[p]++
		}
	}
}

// over waits until the store decides again.
func (f *flights) over() {
	f.Helper()
	eventually(f, func() error {
		for _, p := range f.providers { // an answer shows that it is over
			if _, err := f.instances[f.i].Acquire(f.Context(), limiter.Ask{Provider: p, Key: "sk-1", DryRun: true}); err != nil {
				return err
			}
		}
		if f.instances[f.i].Degraded() {
			return errors.New("permits are decided without the store still")
		}
		return nil
	})
}

// want fails the test unless so many were granted without the store at each provider and are in flight.
func (f *flights) want(n int, when string) {
	f.Helper()
	for _, p := range f.providers {
		if got := len(f.alone[p]); got != n {
			f.Errorf("%s: instance %d has %d in flight at %s, want %d", when, f.i, got, p, n)
		}
	}
}

// testSlotsOfOutages has outages follow one another while nobody gives a slot back.
func testSlotsOfOutages(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, fourSlots)
	f := newFlights(m, 0)
	for n := range 4 {
		m.cut(true)
		f.take(6)
		f.want(4, fmt.Sprint("in outage ", n))
		m.cut(false)
		f.over()
	}
	for range 10 { // one that comes and goes
		m.cut(true)
		f.take(3)
		m.cut(false)
		f.take(3)
	}
	f.want(4, "after one that comes and goes")
	f.over()
	if f.shared[provider] > 4 {
		t.Errorf("the store granted %d", f.shared[provider])
	}
}

// testSlotsComeBack gives slots of an outage back, with the store and without, early and late: then they are free here, too.
func testSlotsComeBack(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, fourSlots)
	f := newFlights(m, 0)
	settle := func(p string) {
		t.Helper()
		s, err := m.instances[0].Settle(t.Context(), f.alone[p][0], nil)
		if err != nil || s.Status != limiter.HoldSettled || s.Repeated {
			t.Fatalf("%+v, %v", s, err)
		}
		if s, err := m.instances[0].Settle(t.Context(), f.alone[p][0], nil); err != nil || !s.Repeated {
			t.Errorf("again: %+v, %v", s, err)
		}
		f.alone[p] = f.alone[p][1:]
	}
	m.cut(true)
	f.take(6)
	settle(provider) // before it is handed over
	settle("twin")
	f.take(6)
	f.want(4, "after one was settled")
	m.cut(false)
	f.over()
	settle(provider) // where it was handed over to
	settle("twin")
	m.cut(true)
	f.take(6)
	f.want(4, "after one more was settled")
	settle(provider) // while the store is away
	settle("twin")
	f.take(6)
	f.want(4, "after another was settled")
	if at, err := m.instances[0].ExtendHold(t.Context(), f.alone[provider][0], 30*time.Minute); err != nil || time.Until(at) < 29*time.Minute {
		t.Errorf("extended until %v, %v", at, err)
	}
	m.cut(false)
	f.over()
	for _, p := range f.providers {
		for len(f.alone[p]) > 0 {
			settle(p)
		}
		eventually(t, func() error {
			u, err := m.instances[0].Usage(t.Context(), limiter.UsageQuery{Provider: p})
			if err == nil && u.Limits[0].Used != 0 {
				err = errors.New("slots are used still")
			}
			return err
		})
	}
}

// testSlotsOfMany has several instances go through outages: alone they have no more in flight than there are slots, and with what
// the store granted no more than twice as many.
func testSlotsOfMany(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, fourSlots)
	fs := []*flights{newFlights(m, 0), newFlights(m, 1)}
	for n := range 4 {
		for _, f := range fs {
			f.take(1)
		}
		m.cut(true)
		for _, f := range fs {
			f.take(4)
			f.want(2, fmt.Sprint("in outage ", n))
		}
		m.cut(false)
		for _, f := range fs {
			f.over()
		}
	}
	for _, p := range fs[0].providers {
		if got := fs[0].shared[p] + fs[1].shared[p] + len(fs[0].alone[p]) + len(fs[1].alone[p]); got > 8 {
			t.Errorf("%d in flight at %s, more than twice 4", got, p)
		}
	}
}
