package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/permitd/permitd/limiter"
)

// The limits of every world, by name as decisions list them.
const (
	acctLimit = iota // of a pool
	allLimit         // of the provider
	keyLimit         // of a key
	worldLimits
)

var limitNames = [worldLimits]string{"acct", "all", "key"}

// A world has three keys, which may be in its one pool, and so these counters: of limit acct one for the pool and one for
// each key that is in none, one of limit all, and one of limit key for each key.
const (
	worldKeys     = 3
	thePool       = worldKeys // where an entry or a query is about the pool
	worldCounters = 1 + worldKeys + 1 + worldKeys
)

// world is all that a provider is, for one who sees one thing happen at a time. Rates are per minute and clocks move by
// whole seconds, so that sixtieths of a unit are exact.
type world struct {
	now      int64 // in seconds
	revision int64 // of the policy
	amounts  [worldLimits]int64
	quota    [worldLimits]bool // per hour; the others are rates
	entries  [worldKeys + 1]worldEntry
	debt     [worldCounters]int64 // in sixtieths of a unit
}

// entry is that of a key or the pool.
type worldEntry struct {
	pooled, disabled bool
	amount           int64 // in place of the policy's for the limit of that scope, unless 0
}

type verb string

const (
	opAcquire verb = "acquire"
	opLook    verb = "usage"
	opTune    verb = "tune"  // write the policy
	opEnter   verb = "enter" // write an entry
	opRead    verb = "read"  // the policy
	opWait    verb = "wait"  // move the clock
)

// op is what a client asks for.
type op struct {
	verb    verb
	key     int // or thePool
	cost    int64
	dry     bool
	seconds int64
	match   int64 // the revision that tune expects, or 0
	amounts [worldLimits]int64
	entry   worldEntry
}

// answer is what it gets.
type answer struct {
	failure  string
	allowed  bool
	retry    time.Duration
	revision int64
	now      int64
	figures  [worldLimits]figures
}

// figures are those of one limit in a decision.
type figures struct {
	amount, cost, used, remaining int64
	refused                       bool
}

// Failures, other than those that no history should have.
const (
	isDisabled = "disabled"
	isConflict = "conflict"
	isTooMuch  = "costs more than is ever admitted by " // and the limit's name
)

// step is what has to come of an operation.
func (w world) step(in op) (answer, world) {
	switch in.verb {
	case opAcquire:
		return w.acquire(in)
	case opLook:
		out := answer{allowed: true, revision: w.revision}
		for _, c := range w.countersOf(in.key) {
			limit, f := w.figures(c)
			out.figures[limit] = f
		}
		return out, w
	case opTune:
		if in.match != 0 && in.match != w.revision {
			return answer{failure: isConflict, revision: w.revision}, w
		}
		w.revision, w.amounts = w.revision+1, in.amounts
		return answer{revision: w.revision}, w
	case opEnter:
		w.entries[in.key] = in.entry
		return answer{}, w
	case opRead:
		return answer{revision: w.revision}, w
	}
	w = w.after(in.seconds)
	return answer{now: w.now}, w
}

func (w world) acquire(in op) (answer, world) {
	if e := w.entries[in.key]; e.disabled || e.pooled && w.entries[thePool].disabled {
		return answer{failure: isDisabled}, w
	}
	cs := w.countersOf(in.key)
	out := answer{allowed: true, revision: w.revision}
	for _, c := range cs {
		limit, amount := w.limit(c)
		if in.cost > amount {
			return answer{failure: isTooMuch + limitNames[limit]}, w
		}
		_, before := w.figures(c)
		if refused := in.cost > before.remaining; refused {
			out.allowed, out.figures[limit].refused = false, true
			out.retry = max(out.retry, w.untilFits(c, in.cost))
		}
	}
	for _, c := range cs {
		if out.allowed && !in.dry {
			w.debt[c] += 60 * in.cost
		}
		limit, f := w.figures(c)
		f.cost, f.refused = in.cost, out.figures[limit].refused
		out.figures[limit] = f
	}
	return out, w
}

// after is the world so many seconds later.
func (w world) after(seconds int64) world {
	turned := w.now/3600 != (w.now+seconds)/3600
	for c := range w.debt {
		switch limit, amount := w.limit(c); {
		case !w.quota[limit]:
			w.debt[c] = max(0, w.debt[c]-amount*seconds)
		case turned:
			w.debt[c] = 0
		}
	}
	w.now += seconds
	return w
}

// countersOf are those that an ask of a key has to fit, or that show when one looks at the pool.
func (w world) countersOf(k int) []int {
	if k == thePool {
		return []int{0, 1 + worldKeys}
	}
	pool := 1 + k
	if w.entries[k].pooled {
		pool = 0
	}
	return []int{pool, 1 + worldKeys, 1 + worldKeys + 1 + k}
}

// limit is which limit a counter is of, and its amount there.
func (w world) limit(c int) (limit int, amount int64) {
	switch {
	case c == 0:
		return acctLimit, cmp.Or(w.entries[thePool].amount, w.amounts[acctLimit])
	case c < 1+worldKeys:
		return acctLimit, w.amounts[acctLimit]
	case c == 1+worldKeys:
		return allLimit, w.amounts[allLimit]
	}
	return keyLimit, cmp.Or(w.entries[c-2-worldKeys].amount, w.amounts[keyLimit])
}

func (w world) figures(c int) (limit int, f figures) {
	limit, amount := w.limit(c)
	used := (w.debt[c] + 59) / 60
	return limit, figures{amount: amount, used: used, remaining: max(0, amount-used)}
}

// untilFits is how long a cost that does not fit now has to wait.
func (w world) untilFits(c int, cost int64) time.Duration {
	limit, amount := w.limit(c)
	if w.quota[limit] {
		return time.Duration(3600-w.now%3600) * time.Second
	}
	over := w.debt[c] - 60*(amount-cost)
	return time.Duration((over*1e6+amount-1)/amount) * time.Microsecond
}

// model is a world for Porcupine. With staleDenials a denial may be older than the ask: what it says is not looked at.
func model(begin world, staleDenials bool) porcupine.Model {
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Init: func() any { return begin },
		Step: func(state, input, output any) (bool, any) {
			w, in, got := state.(world), input.(op), output.(answer)
			if staleDenials && in.verb == opAcquire && !in.dry && got.failure == "" && !got.allowed {
				return true, w
			}
			want, next := w.step(in)
			return got == want, next
		},
		Hash:              func(state any) uint64 { return maphash.Comparable(seed, state.(world)) },
		DescribeOperation: func(in, out any) string { return fmt.Sprintf("%+v → %s", in, out) },
		DescribeState:     func(state any) string { return fmt.Sprintf("%+v", state) },
	}
}

func (a answer) String() string {
	if a.failure != "" {
		return a.failure
	}
	return fmt.Sprintf("%v, retry %v, revision %d, now %d, figures %+v", a.allowed, a.retry, a.revision, a.now, a.figures)
}

// policy is that of the world as a document.
func (w world) policy() *limiter.Policy {
	scopes := [worldLimits]limiter.Scope{limiter.ScopePool, limiter.ScopeProvider, limiter.ScopeKey}
	var docs []string
	for i, name := range limitNames {
		kind := `"kind":"rate","per":"1m"`
		if w.quota[i] {
			kind = `"kind":"quota","per":"hour"`
		}
		docs = append(docs, fmt.Sprintf(`%q:{"scope":%q,"amount":%d,%s}`, name, scopes[i], w.amounts[i], kind))
	}
	p, err := limiter.ParsePolicy([]byte(`{"limits":{` + strings.Join(docs, ",") + `}}`))
	if err != nil {
		panic(err)
	}
	return p
}

// put writes the entry of a key or the pool.
func (e worldEntry) put(c *limiter.Coordinator, provider string, k int) error {
	name, kind, limit, pool := keyID(k), limiter.KeyEntry, keyLimit, ""
	if k == thePool {
		name, kind, limit = "acme", limiter.PoolEntry, acctLimit
	} else if e.pooled {
		pool = `,"pool":"acme"`
	}
	override := ""
	if e.amount > 0 {
		override = fmt.Sprintf(`%q:{"amount":%d}`, limitNames[limit], e.amount)
	}
	doc := fmt.Sprintf(`{"disabled":%t,"limits":{%s}%s}`, e.disabled, override, pool)
	_, err := c.PutEntry(context.Background(), limiter.DocID{Provider: provider, Kind: kind, Name: name}, []byte(doc), limiter.Edit{})
	return err
}

func keyID(k int) string { return limiter.KeyID("sk-" + strconv.Itoa(k)) }

func readDecision(d *limiter.Decision, err error) answer {
	if err != nil {
		return answer{failure: failureOf(err)}
	}
	a := answer{allowed: d.Allowed, retry: d.RetryAfter, revision: d.Revision}
	for _, l := range d.Limits {
		a.figures[slices.Index(limitNames[:], l.Name)] = figures{l.Amount, l.Cost, l.Used, l.Remaining, l.Refused}
	}
	return a
}

func readDoc(d limiter.PolicyDoc, err error) answer {
	var conflict *limiter.ConflictError
	if errors.As(err, &conflict) {
		d.Revision = conflict.Revision
	}
	return answer{failure: failureOf(err), revision: d.Revision}
}

// failureOf says what an error is to a world, which knows of no others than these.
func failureOf(err error) string {
	var cost *limiter.CostError
	switch {
	case err == nil:
		return ""
	case errors.As(err, &cost):
		return isTooMuch + cost.Limit
	case errors.Is(err, limiter.ErrKeyDisabled):
		return isDisabled
	case errors.Is(err, limiter.ErrConflict):
		return isConflict
	}
	return err.Error()
}

// kindOf is what an operation was and came to, for counting.
func kindOf(o porcupine.Operation) string {
	in, out := o.Input.(op), o.Output.(answer)
	switch {
	case out.failure != "":
		return strings.Fields(out.failure)[0]
	case in.verb != opAcquire:
		return string(in.verb)
	case in.dry:
		return "dry"
	case out.allowed:
		return "granted"
	}
	return "denied"
}

func TestWrongAnswersAreFound(t *testing.T) {
	begin := world{revision: 1, amounts: [worldLimits]int64{2, 2, 2}}
	ask := op{verb: opAcquire, cost: 2}
	granted, full := begin.step(ask)
	denied, _ := full.step(ask)
	for _, c := range []struct {
		first, second answer
		stale, ok     bool
	}{
		{granted, denied, false, true},
		{granted, granted, false, false},
		{granted, granted, true, false},
		{denied, granted, false, false},
		{denied, granted, true, true},
	} {
		ops := []porcupine.Operation{{Input: ask, Output: c.first, Call: 1, Return: 2}, {Input: ask, Output: c.second, Call: 3, Return: 4}}
		if ok := porcupine.CheckOperations(model(begin, c.stale), ops); ok != c.ok {
			t.Errorf("%v, then %v, stale denials %v: legal %v, want %v", c.first, c.second, c.stale, ok, c.ok)
		}
	}
}
