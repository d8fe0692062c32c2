package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/permitd/permitd/limiter"
)

const (
	lanes    = 2    // calls in flight for one provider: one that Redis runs, one on the way
	maxQueue = 8192 // asks that wait for one provider
)

// queue holds the asks for one provider that wait for a lane.
type queue struct {
	store    *Store
	provider string
	key      string               // of the provider, in the slot of all its keys
	node     atomic.Pointer[node] // that it went to last; nil: none yet

	mu      sync.Mutex
	waiting []*ask
	idle    []*lane
}

func newQueue(s *Store, provider string) *queue {
	q := &queue{store: s, provider: provider, key: s.keys.document(limiter.DocID{Provider: provider})}
	for n := range lanes {
		q.idle = append(q.idle, &lane{queue: q, key: s.keys.lane(provider, s.instance, n), batch: newBatch(s.keys, provider)})
	}
	return q
}

// put queues asks and sets a lane going. It returns how many it took, and why not more.
func (q *queue) put(asks []ask) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if n := q.node.Load(); n != nil && n.down.Load() {
		return 0, unavailable(n.refusal())
	}
	n := min(len(asks), maxQueue-len(q.waiting))
	for i := range asks[:n] {
		q.waiting = append(q.waiting, &asks[i])
	}
	q.wake()
	return n, fmt.Errorf("%w: %d asks wait for Redis", limiter.ErrOverloaded, maxQueue)
}

// refuse fails all that waits.
func (q *queue) refuse(err error) {
	q.mu.Lock()
	waiting := q.waiting
	q.waiting = nil
	q.mu.Unlock()
	for _, a := range waiting {
		a.fail(err)
	}
}

// wake sets an idle lane going if there is work. The queue is locked.
func (q *queue) wake() {
	if last := len(q.idle) - 1; last >= 0 && len(q.waiting) > 0 {
		l := q.idle[last]
		q.idle = q.idle[:last]
		q.store.running.Go(l.run)
	}
}

// take fills a lane's batch. Without work the lane becomes idle.
func (q *queue) take(l *lane) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	l.batch.reset()
	n := 0
	for ; n < len(q.waiting) && l.batch.fits(q.waiting[n]); n++ {
		q.waiting[n].encode(l.batch)
	}
	rest := copy(q.waiting, q.waiting[n:])
	clear(q.waiting[rest:])
	q.waiting = q.waiting[:rest]
	if len(l.batch.asks) == 0 {
		q.idle = append(q.idle, l)
		return false
	}
	q.wake() // if there is more
	return true
}

// lane takes asks to Redis, one call at a time.
type lane struct {
	queue *queue
	key   string // where its calls leave what they did
	seq   int64  // of its last call
	batch *batch
}

// run works until nothing is queued.
func (l *lane) run() {
	for l.queue.take(l) {
		l.call()
	}
}

// apart sends the asks of a batch again, one by one, to find out which of them the script fails with.
func (l *lane) apart() {
	for _, a := range slices.Clone(l.batch.asks) {
		l.batch.reset()
		if a.encode(l.batch); len(l.batch.asks) > 0 {
			l.call()
		}
	}
}

// call sends the batch and answers its asks. When it returns, nothing stays charged to a caller who was not told.
func (l *lane) call() {
	b, s := l.batch, l.queue.store
	l.seq++
	names := b.keys(l.key)
	l.queue.node.Store(s.nodes.of(s.life, l.queue.key))
	result, err := s.run(s.life, s.client, s.scripts.acquire, names, b.args(l.seq, b.newcomers)...)
	if len(b.asks) > 1 && scriptFailed(err) {
		l.apart()
		return
	}
	var r *reply
	if err == nil {
		r, err = readReply(result)
	}
	lost := make([]byte, 0, maxAsks) // a 1 for each ask that is charged, as far as known, without its caller's knowing
	var answered []byte
	for _, a := range b.asks {
		verdict := byte(0)
		if err == nil {
			verdict, answered, err = r.next(a.lines)
		}
		heard := false
		if err == nil {
			heard = a.answer(func(c *limiter.Charge) {
				b.answer(c, r, verdict, answered)
				if s.denials != nil && (c.Outcome.Verdict == limiter.Denied || c.Outcome.Verdict == limiter.Granted) {
					s.denials.learn(c, uptime())
				}
			})
		} else {
			a.fail(unavailable(err))
		}
		if !heard && (verdict == 0 || verdict == granted || verdict == repeated) {
			lost = append(lost, '1')
		} else {
			lost = append(lost, '0')
		}
	}
	if !bytes.Contains(lost, []byte("1")) || !mayHaveRun(err) {
		return
	}
	if err != nil {
		s.log.Warn("Redis did not answer; what it may have charged is taken back", "provider", l.queue.provider, "asks", len(b.asks), "error", err)
	}
	l.undo(names, b.args(l.seq, lost))
}

const (
	undoTries = 20          // of an undo that Redis refuses for good, as where its user may not run a command
	undoGrace = time.Second // for an undo when the store is closed
)

// undo has Redis take back what the last call charged to the lost asks, however long that takes. While its node is down it
// waits, as everybody does. A store that is closed goes on for a moment, so that an orderly end leaves nothing charged.
func (l *lane) undo(names []string, args []any) {
	s := l.queue.store
	for wait, refused := 5*time.Millisecond, 0; ; wait = min(2*wait, time.Second) {
		kept, err := s.run(context.Background(), s.client, s.scripts.undo, names, args...)
		if err == nil {
			if kept != int64(0) {
				s.log.Warn("grants that were repeated without an answer could not be taken back: a document was edited in between", "provider", l.queue.provider, "grants", kept)
			}
			return
		}
		if isReply(err) && mayHaveRun(err) {
			refused++
		}
		if refused >= undoTries || s.closing.Err() != nil {
			s.log.Error("charges without an answer were not taken back", "provider", l.queue.provider, "error", err)
			return
		}
		pause, back := time.After(wait/2+rand.N(wait/2)), s.nodes.of(s.closing, l.queue.key).back()
		if back != nil {
			pause = nil
		}
		select {
		case <-s.closing.Done():
		case <-pause:
		case <-back:
			wait = 5 * time.Millisecond
		}
	}
}

// unavailable is what callers are told when Redis gave no decision.
func unavailable(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w: permitd is stopping", limiter.ErrStoreUnavailable)
	}
	return fmt.Errorf("%w: %w", limiter.ErrStoreUnavailable, err)
}
