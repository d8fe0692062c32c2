package limiter

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// shelf is a Store that keeps documents in a map, and grants whatever is resolved under the current ones. Functions that
// are set take the place of that.
type shelf struct {
	Store // nil: it keeps no holds

	tb       testing.TB
	docs     map[DocID]Record
	now      Instant
	patience time.Duration

	hangs  bool // after the first decision nothing is answered
	decide func(*Charge)
	load   func(DocID) (Record, error)
	swap   func(DocID, Record) error
	before func(round int, c *Charge) // runs before each decision
	asked  []Charge                   // every charge as it was asked for
}

var _ Store = (*shelf)(nil)

func newShelf(tb testing.TB, policy string) *shelf {
	s := &shelf{tb: tb, docs: map[DocID]Record{}, now: noon}
	s.put(policy)
	return s
}

func (s *shelf) Decide(ctx context.Context, charges []*Charge) {
	for _, c := range charges {
		if s.hangs && len(s.asked) > 0 {
			<-ctx.Done()
			c.Outcome = Outcome{Err: context.Cause(ctx)}
			continue
		}
		if s.before != nil {
			s.before(len(s.asked), c)
		}
		kept := *c
		kept.Lines = append([]Line(nil), c.Lines...)
		s.asked = append(s.asked, kept)
		if s.decide != nil {
			s.decide(c)
			continue
		}
		s.judge(c)
	}
}

// judge is the order of the contract: late, stale, late, granted.
func (s *shelf) judge(c *Charge) {
	o := Outcome{Now: s.now, Verdict: Granted}
	for _, d := range []struct {
		name, tag string
		kind      EntryKind
		current   **Record
	}{{"", c.Stamps.Policy, "", &o.Current.Policy}, {c.KeyID, c.Stamps.Key, KeyEntry, &o.Current.Key}, {c.Pool, c.Stamps.Pool, PoolEntry, &o.Current.Pool}} {
		if r := s.docs[DocID{c.Provider, d.kind, d.name}]; r.Tag != d.tag && (d.kind == "" || d.name != "") {
			*d.current, o.Verdict = &r, Stale
		}
	}
	for i := range c.Lines {
		l := &c.Lines[i]
		if l.Terms.Limit.Kind == KindQuota && !l.Window.Contains(s.now) && o.Verdict == Granted {
			o.Verdict = Late
		}
		l.State, l.Fits = l.Terms.Charge(State{}, l.Cost), true
	}
	if s.now > c.NotAfter {
		o.Verdict, o.Current = Late, Current{}
	}
	c.Outcome = o
}

func (s *shelf) Load(_ context.Context, id DocID) (Record, error) {
	if s.load != nil {
		return s.load(id)
	}
	return s.docs[id], nil
}

func (s *shelf) Swap(_ context.Context, id DocID, prev string, next Record) (Record, error) {
	if s.swap != nil {
		if err := s.swap(id, next); err != nil {
			return s.docs[id], err
		}
	}
	if s.docs[id].Tag != prev {
		return s.docs[id], ErrConflict
	}
	next.At = s.now
	s.docs[id] = next.Stamped()
	return s.docs[id], nil
}

func (s *shelf) Patience() time.Duration { return s.patience }

func (s *shelf) Providers(context.Context) ([]string, error) { return []string{"acme"}, nil }

// put writes the policy of "acme".
func (s *shelf) put(doc string) {
	s.tb.Helper()
	p, err := ParsePolicy([]byte(doc))
	if err != nil {
		s.tb.Fatalf("%s: %v", doc, err)
	}
	next, _ := s.docs[DocID{Provider: "acme"}].nextPolicy(p)
	next.At = s.now
	s.docs[DocID{Provider: "acme"}] = next.Stamped()
}

// entry writes the entry of a key or pool of "acme".
func (s *shelf) entry(kind EntryKind, name, doc string) {
	s.tb.Helper()
	e, err := loadEntry(kind, []byte(doc))
	if err != nil {
		s.tb.Fatalf("%s: %v", doc, err)
	}
	id := DocID{"acme", kind, name}
	next := s.docs[id].nextEntry(e, s.docs[DocID{Provider: "acme"}].Generation)
	next.At = s.now
	s.docs[id] = next.Stamped()
}

// erase deletes a document; its numbering stays.
func (s *shelf) erase(id DocID) { s.docs[id] = s.docs[id].successor() }

var (
	keyID  = KeyID("sk-1")
	keyDoc = DocID{"acme", KeyEntry, keyID}
)

// ask asks for a permit of the key "sk-1".
func (s *shelf) ask(c *Coordinator, model string, cost ...Cost) (*Decision, error) {
	return c.Acquire(context.Background(), Ask{Provider: "acme", Key: "sk-1", Model: model, Cost: cost})
}

// lines are those of the last charge: limit, subject, model and cost.
func (s *shelf) lines() (lines []string) {
	for _, l := range s.asked[len(s.asked)-1].Lines {
		lines = append(lines, fmt.Sprintf("%s %s %s %d", l.Terms.Limit.Name, l.Subject, l.Model, l.Cost))
	}
	return lines
}
