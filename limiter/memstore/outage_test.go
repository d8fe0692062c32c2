package memstore_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// away is a store that can be out of reach.
type away struct {
	limiter.Store
	off atomic.Bool
}

var errAway = fmt.Errorf("%w: away", limiter.ErrStoreUnavailable)

func (s *away) Decide(ctx context.Context, charges []*limiter.Charge) {
	if !s.off.Load() {
		s.Store.Decide(ctx, charges)
		return
	}
	for _, c := range charges {
		c.Outcome = limiter.Outcome{Err: errAway}
	}
}

func (s *away) Hold(ctx context.Context, provider, permitID string) (limiter.Hold, error) {
	if s.off.Load() {
		return limiter.Hold{}, errAway
	}
	return s.Store.Hold(ctx, provider, permitID)
}

// instance is a coordinator with a bound of its own.
type instance struct {
	*limiter.Coordinator
	bound *limiter.Memory
}

func newInstance(store limiter.Store, most int64) instance {
	bound := limiter.NewMemory(most)
	standIn := func(clock func() limiter.Instant) limiter.Store {
		return memstore.New(memstore.Options{Clock: clock, Memory: bound})
	}
	return instance{limiter.New(store, limiter.StandIn(standIn), limiter.Within(bound)), bound}
}

// TestOutagesGiveTheirMemoryBack goes through one with holds that are kept, closed here and closed elsewhere, and with remembered
// grants: when it is over and done with, nothing is taken any more.
func TestOutagesGiveTheirMemoryBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: memstore.New(memstore.Options{})}
		one, other := newInstance(store, limiter.DefaultMemory), newInstance(store, limiter.DefaultMemory)
		ctx, stop := context.WithCancel(t.Context())
		p, err := limiter.ParsePolicy([]byte(`{"limits":{` + wideLimit + `,` + tenAMinute + `,"slots":{"scope":"key","kind":"concurrency","amount":9}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.PutPolicy(ctx, "openai", p, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		if _, err := other.Acquire(ctx, limiter.Ask{Provider: "openai", Key: "sk", DryRun: true}); err != nil {
			t.Fatal(err)
		}
		store.off.Store(true)
		for i := range 300 {
			d, err := one.Acquire(ctx, limiter.Ask{Provider: "openai", Key: "sk-" + strconv.Itoa(i), IdempotencyKey: strconv.Itoa(i % 200)})
			if err != nil {
				if errors.Is(err, limiter.ErrIdempotencyMismatch) {
					continue
				}
				t.Fatal(err)
			}
			switch i % 3 {
			case 1:
				_, err = one.Settle(ctx, d.PermitID, limiter.Costs{{Unit: "requests", Amount: 2}})
			case 2:
				_, err = other.Cancel(ctx, d.PermitID)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if one.bound.Used() < 100_000 || other.bound.Used() < 10_000 {
			t.Errorf("%d and %d bytes are counted in the outage", one.bound.Used(), other.bound.Used())
		}
		store.off.Store(false)
		for _, i := range []instance{one, other} {
			go i.Attend(ctx, "test")
		}
		time.Sleep(20 * time.Minute)
		if one.bound.Used() != 0 || other.bound.Used() != 0 {
			t.Errorf("%d and %d bytes are counted when all is over", one.bound.Used(), other.bound.Used())
		}
		u, err := one.Usage(ctx, limiter.UsageQuery{Provider: "openai"})
		if err != nil || u.Limits[0].Used != 67+2*67 {
			t.Errorf("%+v, %v", u, err)
		}
		stop()
		synctest.Wait()
	})
}

// TestSlotsOutliveAnOutage has a second outage come long after the first: slots that are in use still are not given out again.
func TestSlotsOutliveAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: memstore.New(memstore.Options{})}
		one := newInstance(store, limiter.DefaultMemory)
		ctx, stop := context.WithCancel(t.Context())
		p, err := limiter.ParsePolicy([]byte(`{"hold_ttl":"2h","limits":{"slots":{"scope":"key","kind":"concurrency","amount":4}}}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.PutPolicy(ctx, "openai", p, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		granted := func() (n int) {
			for range 6 {
				d, err := one.Acquire(ctx, limiter.Ask{Provider: "openai", Key: "sk"})
				if err != nil {
					t.Fatal(err)
				}
				if d.Allowed {
					n++
				}
			}
			return n
		}
		store.off.Store(true)
		if n := granted(); n != 4 {
			t.Errorf("%d granted, want 4", n)
		}
		store.off.Store(false)
		go one.Attend(ctx, "test")
		time.Sleep(time.Hour)
		store.off.Store(true)
		if n := granted(); n != 0 {
			t.Errorf("%d granted an hour later, while 4 are in use", n)
		}
		store.off.Store(false)
		time.Sleep(90 * time.Minute)
		store.off.Store(true)
		if n := granted(); n != 4 {
			t.Errorf("%d granted when all have expired, want 4", n)
		}
		stop()
		synctest.Wait()
	})
}

// crew is a store that says which instances share it.
type crew struct {
	away
	others atomic.Int64
}

func (s *crew) Instances(_ context.Context, self *limiter.Instance) ([]limiter.Instance, error) {
	if s.off.Load() {
		return nil, errAway
	}
	all := []limiter.Instance{*self}
	for i := range s.others.Load() {
		all = append(all, limiter.Instance{ID: "~" + strconv.Itoa(int(i))})
	}
	return all, nil
}

// TestFirstToComeBack has a store be away until it has forgotten who shared it: the first instance to announce itself is not
// alone for that, and goes on with the part that it had.
func TestFirstToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &crew{away: away{Store: memstore.New(memstore.Options{})}}
		store.others.Store(3)
		one := newInstance(store, limiter.DefaultMemory)
		ctx, stop := context.WithCancel(t.Context())
		granted := func(provider string) (n int) {
			for range 200 {
				d, err := one.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk"})
				if err != nil {
					t.Fatal(err)
				}
				if d.Allowed && d.Degraded {
					n++
				}
			}
			return n
		}
		p, err := limiter.ParsePolicy([]byte(`{"limits":{"all":{"scope":"provider","kind":"quota","amount":100,"per":"month"}}}`))
		if err != nil {
			t.Fatal(err)
		}
		for _, provider := range []string{"openai", "twin"} {
			if _, err := one.PutPolicy(ctx, provider, p, limiter.Edit{}); err != nil {
				t.Fatal(err)
			}
		}
		go one.Attend(ctx, "test")
		time.Sleep(5 * time.Second)
		store.off.Store(true)
		if n := granted("openai"); n != 25 {
			t.Errorf("%d granted, want a fourth of 100", n)
		}
		time.Sleep(30 * time.Second)
		store.others.Store(0)
		store.off.Store(false)
		time.Sleep(limiter.InstanceLife / 2) // it has seen itself alone
		store.off.Store(true)
		if n := granted("twin"); n != 25 {
			t.Errorf("%d granted by the first to come back, want a fourth of 100", n)
		}
		store.off.Store(false)
		time.Sleep(3 * limiter.InstanceLife) // it is alone for good
		store.off.Store(true)
		if n := granted("openai") + granted("twin"); n != 0 {
			t.Errorf("%d granted when outages go on, want no more than was", n)
		}
		store.off.Store(false)
		time.Sleep(20 * time.Minute)
		store.off.Store(true)
		if n := granted("twin"); n != 100 {
			t.Errorf("%d granted alone, want all of 100", n)
		}
		stop()
		synctest.Wait()
	})
}

// TestClosedHoldsAreBounded has two providers' holds be granted and closed in an outage, until no memory is free: what is kept stays
// within the bound, whatever was closed.
func TestClosedHoldsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: memstore.New(memstore.Options{})}
		one := newInstance(store, 256<<10)
		p, err := limiter.ParsePolicy([]byte(`{"limits":{` + wideLimit + `,"slots":{"scope":"key","kind":"concurrency","amount":9}}}`))
		if err != nil {
			t.Fatal(err)
		}
		for _, provider := range []string{"openai", "twin"} {
			if _, err := one.PutPolicy(t.Context(), provider, p, limiter.Edit{}); err != nil {
				t.Fatal(err)
			}
		}
		store.off.Store(true)
		refused, most := 0, int64(0)
		for i := range 4000 {
			d, err := one.Acquire(t.Context(), limiter.Ask{Provider: []string{"openai", "twin"}[i%2], Key: "sk"})
			if errors.Is(err, limiter.ErrOverloaded) {
				refused++
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			if _, err := one.Settle(t.Context(), d.PermitID, nil); err != nil {
				t.Fatal(err)
			}
			most = max(most, one.bound.Used())
		}
		if granted := 4000 - refused; refused == 0 || granted < 1100 || most > one.bound.Most() { // about 214 bytes each
			t.Errorf("%d granted, up to %d bytes of %d used", granted, most, one.bound.Most())
		}
		// All of it has its time: afterwards there is room again.
		time.Sleep(time.Hour)
		if _, err := one.Acquire(t.Context(), limiter.Ask{Provider: "twin", Key: "sk"}); err != nil {
			t.Error(err)
		}
	})
}

// TestForgedPermitsAreBounded: an instance is asked to close permits that another may have granted without the store.
func TestForgedPermitsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: memstore.New(memstore.Options{})}
		forger, victim := newInstance(store, limiter.DefaultMemory), newInstance(store, 64<<10)
		p, err := limiter.ParsePolicy([]byte(`{"limits":{` + limitsOf(16, wideQuota) + `}}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := forger.PutPolicy(t.Context(), "openai", p, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		if _, err := victim.Acquire(t.Context(), limiter.Ask{Provider: "openai", Key: "sk", DryRun: true}); err != nil {
			t.Fatal(err)
		}
		store.off.Store(true)
		refused := 0
		for i := range 200 {
			d, err := forger.Acquire(t.Context(), limiter.Ask{Provider: "openai", Key: "sk-" + strconv.Itoa(i), Hold: true, TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := victim.Cancel(t.Context(), d.PermitID); errors.Is(err, limiter.ErrOverloaded) {
				refused++
			} else if err != nil {
				t.Fatal(err)
			}
		}
		if refused < 50 || refused > 190 || victim.bound.Used() > victim.bound.Most() {
			t.Errorf("%d of 200 refused, %d bytes of %d used", refused, victim.bound.Used(), victim.bound.Most())
		}
	})
}
