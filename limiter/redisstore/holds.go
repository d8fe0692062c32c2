package redisstore

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/permitd/permitd/limiter"
)

// Hold implements [limiter.Store].
func (s *Store) Hold(ctx context.Context, provider, permitID string) (limiter.Hold, error) {
	result, err := s.ofHold(ctx, provider, s.scripts.hold, []string{s.keys.hold(s.keys.of(provider), permitID)})
	if err != nil {
		return limiter.Hold{}, s.failed(ctx, err)
	}
	now, _, record, _, err := readClosing(result)
	if err != nil {
		return limiter.Hold{}, s.failed(ctx, err)
	}
	h, err := decodeHold(record, now)
	if err != nil {
		return limiter.Hold{}, s.failed(ctx, err)
	}
	return h, nil
}

// CloseHold implements [limiter.Store].
func (s *Store) CloseHold(ctx context.Context, k *limiter.Closing) {
	b := newBatch(s.keys, k.Provider)
	b.closing = true
	charge := b.addClosing(k)
	result, err := s.ofHold(ctx, k.Provider, s.scripts.close, b.keys(s.keys.hold(b.of, k.PermitID)), b.args(k.TTL.Microseconds(), int(k.Status))...)
	k.Outcome = limiter.ClosingOutcome{}
	if err == nil {
		err = b.answerClosing(k, charge, result)
	}
	switch {
	case err != nil:
		k.Outcome = limiter.ClosingOutcome{Err: s.failed(ctx, err)}
	case s.denials != nil:
		s.denials.changed(k)
	}
}

// ofHold runs a script about a hold. A hold is closed once, so sending again is safe.
func (s *Store) ofHold(ctx context.Context, provider string, of script, keys []string, args ...any) (any, error) {
	return s.again(ctx, s.side, provider, of, keys, args...)
}

// addClosing encodes a closing as the one ask of a call.
func (b *batch) addClosing(k *limiter.Closing) *limiter.Charge {
	c := &limiter.Charge{Provider: k.Provider, KeyID: k.KeyID, Pool: k.Pool, Stamps: k.Stamps}
	if k.Once != "" && k.Status == limiter.HoldOpen {
		c.Once = &limiter.Once{ID: k.Once}
	}
	b.add(&ask{charge: c})
	if k.Body != nil && k.Status != limiter.HoldOpen {
		b.bodies = append(b.bodies, k.Body)
	}
	p := &b.askPart
	p.data[len(p.data)-1] = byte(len(k.Lines))
	for i := range k.Lines {
		l := &k.Lines[i]
		p.format = append(p.format, "HHd"...)
		terms, counter := 0, 0
		if l.Terms != nil {
			terms = b.term(&limiter.Line{Terms: l.Terms, Window: l.Window})
			counter = b.counter(l.Terms, counterID{l.Terms.Counter, l.Subject, l.Model})
		}
		p.data = append16(append16(p.data, terms), counter)
		p.data = append64(p.data, float64(l.Cost-l.Reserved))
	}
	return c
}

// readClosing takes a reply apart: the time, the verdict if there is one, the record, and documents.
func readClosing(result any) (now limiter.Instant, verdict limiter.Verdict, record string, docs []any, err error) {
	parts, ok := result.([]any)
	if !ok || len(parts) < 2 {
		return 0, 0, "", nil, errReply
	}
	head, isText := parts[0].(string)
	record, isRecord := parts[1].(string)
	if !isText || !isRecord || len(head) < 8 {
		return 0, 0, "", nil, errReply
	}
	now = readInstant(head)
	if len(head) > 8 {
		verdict = limiter.Verdict(head[8])
	}
	return now, verdict, record, parts[2:], nil
}

func (b *batch) answerClosing(k *limiter.Closing, c *limiter.Charge, result any) error {
	now, verdict, record, docs, err := readClosing(result)
	if err != nil {
		return err
	}
	k.Outcome.Now, k.Outcome.Verdict = now, verdict
	switch verdict {
	case limiter.Granted:
		k.Outcome.Hold, err = decodeHold(record, now)
	case limiter.Stale:
		r := &reply{}
		err = r.readDocuments(docs)
		k.Outcome.Current = b.current(c, r)
	case limiter.Late:
	default:
		err = errReply
	}
	return err
}

// decodeHold reads a record as lua/acquire.lua and lua/close.lua write it; "" is one that is not kept.
func decodeHold(record string, now limiter.Instant) (limiter.Hold, error) {
	const head, receipt, change = 1 + 1 + 3*7 + 1, 3 * 7, 2 * 8
	h := limiter.Hold{Seen: now}
	if record == "" {
		return h, nil
	}
	if len(record) < head {
		return h, errRecord
	}
	b := []byte(record)
	h.Status, h.Late = limiter.HoldStatus(b[0]), b[1] == 1
	h.Born, h.Expires = limiter.Instant(read7(b[2:])), limiter.Instant(read7(b[9:]))
	h.Keep = time.Duration(read7(b[16:])) * time.Millisecond
	lines, size := int(b[23]), receipt
	if h.Status != limiter.HoldOpen {
		size += change
	}
	b = b[head:]
	if h.Status < limiter.HoldOpen || h.Status > limiter.HoldCancelled || len(b) < lines*size {
		return h, errRecord
	}
	for range lines {
		h.Receipts = append(h.Receipts, limiter.Receipt{Total: read7(b), Mark: limiter.Instant(read7(b[7:])), Units: read7(b[14:])})
		b = b[receipt:]
	}
	if h.Status != limiter.HoldOpen {
		for range lines {
			h.Changes = append(h.Changes, limiter.LineChange{
				Adjusted:  int64(binary.LittleEndian.Uint64(b)),
				Uncharged: int64(binary.LittleEndian.Uint64(b[8:])),
			})
			b = b[change:]
		}
	}
	h.Body = b
	return h, nil
}
