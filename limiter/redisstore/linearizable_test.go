package redisstore

import (
	"context"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestHistoriesAreLinearizable has clients of three instances ask, tune, look and move the clock at once, and has Porcupine
// find an order of all they did in which one world, doing one thing at a time, would have answered the same.
// PERMITD_HISTORIES says how many such histories; PERMITD_SEED repeats what the clients do, though not how it interleaves.
func TestHistoriesAreLinearizable(t *testing.T) { explore(t, newFleet(t), false) }

// TestHistoriesWithRememberedDenials has denials come from memory, which may lag.
func TestHistoriesWithRememberedDenials(t *testing.T) {
	f := newFleet(t)
	for _, s := range f.stores {
		s.denials = newDenials()
	}
	explore(t, f, true)
}

// explore checks histories of a fleet. With staleDenials only grants and what is read have to be current.
func explore(t *testing.T, f *fleet, staleDenials bool) {
	total, seed := environment(t, "PERMITD_HISTORIES", 60), uint64(environment(t, "PERMITD_SEED", int(mathrand.Uint32())))
	seen := map[string]int{}
	for n := range total {
		rng := mathrand.New(mathrand.NewPCG(seed, uint64(n)))
		h := f.history(rng, 1)
		h.plan(rng)
		ops, m := h.run(), model(h.begin, staleDenials)
		if result, info := porcupine.CheckOperationsVerbose(m, ops, time.Minute); result != porcupine.Ok {
			file := filepath.Join(os.TempDir(), fmt.Sprintf("history-%d-%d.html", seed, n))
			if err := porcupine.VisualizePath(m, info, file); err != nil {
				t.Error(err)
			}
			t.Fatalf("history %d under PERMITD_SEED=%d is %s: see %s", n, seed, result, file)
		}
		for _, o := range ops {
			seen[kindOf(o)]++
		}
	}
	t.Logf("%d histories: %v", total, seen)
	for _, kind := range []string{"granted", "denied", "dry", isDisabled, isConflict, "costs"} {
		if seen[kind] == 0 {
			t.Errorf("no history has an answer that is %s: PERMITD_SEED=%d", kind, seed)
		}
	}
}

// fleet is three instances on one Redis, under a clock that stands until it is moved.
type fleet struct {
	t         *testing.T
	stores    [3]*Store
	instances [3]*limiter.Coordinator
	admin     *redis.Client
	clock     string // the key that holds the time
	providers int
}

func newFleet(t *testing.T) *fleet {
	f := &fleet{t: t, admin: redistest.Shared(t).Client()}
	t.Cleanup(func() { f.admin.Close() })
	for i := range f.stores {
		f.stores[i], _ = openSettable(t)
		f.stores[i].keys, f.stores[i].scripts = f.stores[0].keys, f.stores[0].scripts
		f.instances[i] = limiter.New(f.stores[i])
	}
	f.clock = f.stores[0].keys.prefix + ":clock"
	return f
}

// history is what some clients are going to do at once.
type history struct {
	*fleet
	provider string
	begin    world
	plans    [][][]op // of each client: what it does one after the other; several at once are a batch
	start    time.Time
}

// history begins a world of small limits, larger by a factor, under a provider of its own.
func (f *fleet) history(rng *mathrand.Rand, factor int64) *history {
	f.providers++
	h := &history{fleet: f, provider: "p" + strconv.Itoa(f.providers)}
	w, c, ctx := &h.begin, f.instances[0], context.Background()
	w.now = 3600*(500_000+rng.Int64N(10_000)) - rng.Int64N(100) // an hour may end in it
	w.revision, w.amounts = 1, randomAmounts(rng)
	for i := range w.quota {
		w.quota[i] = rng.IntN(3) == 0
		w.amounts[i] *= factor
	}
	err := f.admin.Set(ctx, f.clock, w.now*1e6, 0).Err()
	if err == nil {
		_, err = c.PutPolicy(ctx, h.provider, w.policy(), limiter.Edit{Absent: true})
	}
	for k := range worldKeys {
		if w.entries[k].pooled = rng.IntN(2) == 0; w.entries[k].pooled && err == nil {
			err = w.entries[k].put(c, h.provider, k)
		}
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return h
}

// plan makes up what clients will do.
func (h *history) plan(rng *mathrand.Rand) {
	edits := 0
	for range 4 + rng.IntN(5) {
		var plan [][]op
		for range 6 {
			step := randomStep(rng, edits < 12) // as many as are remembered: more would be less exact, see Schedule.Slowest
			if step[0].verb == opTune || step[0].verb == opEnter {
				edits++
			}
			plan = append(plan, step)
		}
		h.plans = append(h.plans, plan)
	}
}

func randomAmounts(rng *mathrand.Rand) (a [worldLimits]int64) {
	for i := range a {
		a[i] = 2 + rng.Int64N(9)
	}
	a[allLimit] += 6
	return a
}

func randomAsk(rng *mathrand.Rand) op {
	return op{verb: opAcquire, key: rng.IntN(worldKeys), cost: rng.Int64N(5), dry: rng.IntN(6) == 0}
}

// randomStep is what a client does next.
func randomStep(rng *mathrand.Rand, edit bool) []op {
	switch n := rng.IntN(20); {
	case edit && n < 2:
		o := op{verb: opTune, amounts: randomAmounts(rng)}
		if rng.IntN(2) == 0 {
			o.match = -1 // what the client is going to read
		}
		return []op{o}
	case edit && n < 5:
		o := op{verb: opEnter, key: rng.IntN(worldKeys + 1), entry: worldEntry{disabled: rng.IntN(4) == 0, amount: max(0, rng.Int64N(16)-6)}}
		o.entry.pooled = o.key != thePool && rng.IntN(3) > 0
		return []op{o}
	case n < 8:
		return []op{{verb: opLook, key: rng.IntN(worldKeys + 1)}}
	case n < 9:
		return []op{{verb: opRead}}
	case n < 11:
		return []op{{verb: opWait, seconds: rng.Int64N(30)}}
	case n < 14:
		return []op{randomAsk(rng), randomAsk(rng), randomAsk(rng)}
	}
	return []op{randomAsk(rng)}
}

// run has the clients do what they are to do.
func (h *history) run() []porcupine.Operation {
	var clients sync.WaitGroup
	done := make([][]porcupine.Operation, len(h.plans))
	h.start = time.Now()
	for i, plan := range h.plans {
		clients.Go(func() {
			for _, step := range plan {
				done[i] = append(done[i], h.perform(i, step)...)
			}
		})
	}
	clients.Wait()
	return slices.Concat(done...)
}

// perform does one step of a client.
func (h *history) perform(client int, step []op) (ops []porcupine.Operation) {
	c, begin, tag := h.instances[client%len(h.instances)], time.Since(h.start), ""
	note := func(client int, in op, out answer) {
		ops = append(ops, porcupine.Operation{ClientId: client, Input: in, Call: int64(begin), Output: out, Return: int64(time.Since(h.start))})
	}
	if step[0].match != 0 {
		doc, err := c.Policy(context.Background(), h.provider)
		note(client, op{verb: opRead}, readDoc(doc, err))
		step[0].match, tag, begin = doc.Revision, doc.Tag, time.Since(h.start)
	}
	if step[0].verb != opAcquire {
		note(client, step[0], h.do(c, step[0], tag))
		return ops
	}
	for i, a := range h.acquire(context.Background(), c, step) {
		note(client+i*len(h.plans), step[i], a)
	}
	return ops
}

func (h *history) do(c *limiter.Coordinator, in op, tag string) answer {
	ctx := context.Background()
	switch in.verb {
	case opLook:
		q := limiter.UsageQuery{Provider: h.provider, Pool: "acme"}
		if in.key != thePool {
			q.Pool, q.KeyID = "", keyID(in.key)
		}
		return readDecision(c.Usage(ctx, q))
	case opTune:
		w := world{quota: h.begin.quota, amounts: in.amounts}
		doc, err := c.PutPolicy(ctx, h.provider, w.policy(), limiter.Edit{Tag: tag})
		return readDoc(doc.PolicyDoc, err)
	case opEnter:
		return answer{failure: failureOf(in.entry.put(c, h.provider, in.key))}
	case opRead:
		return readDoc(c.Policy(ctx, h.provider))
	}
	now, err := h.admin.IncrBy(ctx, h.clock, in.seconds*1e6).Result()
	return answer{failure: failureOf(err), now: now / 1e6}
}

// acquire asks for one permit, or several at once.
func (h *history) acquire(ctx context.Context, c *limiter.Coordinator, step []op) (answers []answer) {
	asks := make([]limiter.Ask, len(step))
	for i, o := range step {
		asks[i] = limiter.Ask{Provider: h.provider, KeyID: keyID(o.key), DryRun: o.dry, Cost: limiter.Costs{{Unit: "requests", Amount: o.cost}}}
	}
	if len(asks) == 1 {
		return []answer{readDecision(c.Acquire(ctx, asks[0]))}
	}
	for _, r := range c.AcquireBatch(ctx, asks) {
		answers = append(answers, readDecision(r.Decision, r.Err))
	}
	return answers
}

// TestAsksWithoutAnAnswerChargeNothing has callers leave while they wait, or cuts their connections, and expects that in
// the end just what was granted to those who got an answer is charged.
func TestAsksWithoutAnAnswerChargeNothing(t *testing.T) {
	rounds, seed := environment(t, "PERMITD_HISTORIES", 60), uint64(environment(t, "PERMITD_SEED", int(mathrand.Uint32())))
	for name, cut := range map[string]bool{"callers leave": false, "connections are cut": true} {
		t.Run(name, func(t *testing.T) {
			f, answered, lost := newFleet(t), 0, 0
			for n := range rounds {
				h := f.crowd(mathrand.New(mathrand.NewPCG(seed, uint64(n))))
				some, others := h.abandon(cut)
				answered, lost = answered+some, lost+others
				if t.Failed() {
					t.Fatalf("round %d under PERMITD_SEED=%d", n, seed)
				}
			}
			t.Logf("%d asks were answered, %d were not", answered, lost)
			if answered == 0 || lost == 0 {
				t.Error("all or none were answered")
			}
		})
	}
}

// crowd is a history of at most 30 asks: a counter remembers 32 refunds exactly.
func (f *fleet) crowd(rng *mathrand.Rand) *history {
	h := f.history(rng, 4)
	h.plans = make([][][]op, 5)
	for i := range 15 {
		step := []op{randomAsk(rng), randomAsk(rng)}
		h.plans[i%5] = append(h.plans[i%5], step[rng.IntN(2):])
	}
	return h
}

// abandon has the clients ask, but some answers never come, and looks at what is charged once the lanes are at rest.
func (h *history) abandon(cut bool) (answered, lost int) {
	var clients sync.WaitGroup
	leave := time.Millisecond
	if cut {
		leave = patience
		clients.Go(h.cutConnections)
	}
	done := make([][]porcupine.Operation, len(h.plans))
	for i, plan := range h.plans {
		clients.Go(func() {
			for _, step := range plan {
				ctx, cancel := context.WithTimeout(context.Background(), []time.Duration{mathrand.N(leave), patience}[mathrand.IntN(2)])
				for j, a := range h.acquire(ctx, h.instances[i%len(h.instances)], step) {
					done[i] = append(done[i], porcupine.Operation{Input: step[j], Output: a})
				}
				cancel()
			}
		})
	}
	clients.Wait()
	w := h.begin
	for _, o := range slices.Concat(done...) {
		switch in := o.Input.(op); kindOf(o) {
		case "granted":
			for _, c := range w.countersOf(in.key) {
				w.debt[c] += 60 * in.cost
			}
			answered++
		case "denied", "dry", "costs":
			answered++
		default:
			lost++
		}
	}
	h.rest()
	for k := range w.entries {
		in := op{verb: opLook, key: k}
		want, _ := w.step(in)
		if got := h.do(h.instances[0], in, ""); got != want {
			h.t.Errorf("usage of %d is %v, granted were %v", k, got, want)
		}
	}
	return answered, lost
}

// cutConnections closes those of all stores a few times.
func (f *fleet) cutConnections() {
	admin := redistest.Shared(f.t).Client()
	defer admin.Close()
	for range 4 {
		time.Sleep(mathrand.N(time.Millisecond))
		admin.ClientKillByFilter(context.Background(), "TYPE", "normal", "SKIPME", "yes")
	}
}

// rest waits until no lane of the provider's has anything left to do or undo.
func (h *history) rest() {
	busy := func(s *Store) bool {
		found, _ := s.queues.LoadOrStore(h.provider, newQueue(s, h.provider))
		q := found.(*queue)
		q.mu.Lock()
		defer q.mu.Unlock()
		return len(q.idle) < lanes || len(q.waiting) > 0
	}
	for begin := time.Now(); slices.ContainsFunc(h.stores[:], busy); time.Sleep(100 * time.Microsecond) {
		if time.Since(begin) > patience {
			h.t.Fatal("the lanes do not come to rest")
		}
	}
}
