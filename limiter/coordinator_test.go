package limiter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestStaleAskIsResolvedUnderTheDocumentsThatItBrings(t *testing.T) {
	s := newShelf(t, oneLimit(`"amount":10`))
	c := New(s)
	if _, err := s.ask(c, ""); err != nil {
		t.Fatal(err)
	}
	s.put(oneLimit(`"amount":77`))
	s.entry(KeyEntry, keyID, `{"pool":"p"}`)
	s.entry(PoolEntry, "p", `{}`)
	s.asked = nil
	d, err := s.ask(c, "")
	if err != nil || d.Revision != 2 || d.Limits[0].Amount != 77 || d.Pool != "p" {
		t.Fatalf("%+v, %v", d, err)
	}
	if n := len(s.asked); n != 3 { // the policy and the key's entry, then the pool that this names, then done
		t.Errorf("the store was asked %d times, want 3", n)
	}
	if s.asked[0].Stamps.Policy == s.asked[1].Stamps.Policy || s.asked[2].Stamps.Pool == "" {
		t.Errorf("stamps %+v, %+v, %+v", s.asked[0].Stamps, s.asked[1].Stamps, s.asked[2].Stamps)
	}
	s.asked = nil
	if _, err := s.ask(c, ""); err != nil || len(s.asked) != 1 {
		t.Errorf("once known, the store was asked %d times", len(s.asked))
	}
	if id := s.asked[0].PermitID; !strings.HasPrefix(id, "p_acme_") || len(id) < len("p_acme_")+22 {
		t.Errorf("permit id %q", id)
	}
}

// TestAllRoundsTogetherAreBounded: the store answers the first decision, and then no more.
func TestAllRoundsTogetherAreBounded(t *testing.T) {
	s := newShelf(t, oneLimit(""))
	c := New(s)
	if _, err := s.ask(c, ""); err != nil {
		t.Fatal(err)
	}
	s.put(oneLimit(`"amount":77`))
	s.asked, s.hangs, s.patience = nil, true, time.Millisecond
	if _, err := s.ask(c, ""); !errors.Is(err, ErrStoreUnavailable) {
		t.Errorf("an ask that was stale: %v", err)
	}
	s.asked = make([]Charge, 1)
	if _, err := s.ask(New(s), ""); !errors.Is(err, ErrStoreUnavailable) {
		t.Errorf("an ask for which the policy had to be read: %v", err)
	}
}

func TestEntryThatIsGoneIsForgotten(t *testing.T) {
	s := newShelf(t, oneLimit(""))
	s.entry(KeyEntry, keyID, `{"disabled":true}`)
	c := New(s)
	if _, err := s.ask(c, ""); !errors.Is(err, ErrKeyDisabled) {
		t.Fatal(err)
	}
	delete(s.docs, DocID{"acme", KeyEntry, keyID})
	if d, err := s.ask(c, ""); err != nil || !d.Allowed {
		t.Errorf("after the entry was lost: %v", err)
	}
}

func TestRefusalUnderStaleDocumentsDoesNotReachTheCaller(t *testing.T) {
	for name, c := range map[string]struct{ before, after string }{
		"cost":    {oneLimit(`"burst":1`), oneLimit(`"burst":5`)},
		"model":   {oneLimit(`"per_model":true`), oneLimit("")},
		"unknown": {strings.Replace(oneLimit(""), "{", `{"unknown_keys":"deny",`, 1), oneLimit("")},
	} {
		s := newShelf(t, c.before)
		co := New(s)
		if _, err := s.ask(co, "", Cost{"requests", 5}); err == nil {
			t.Fatalf("%s: not refused to begin with", name)
		}
		s.put(c.after)
		if d, err := s.ask(co, "", Cost{"requests", 5}); err != nil || !d.Allowed {
			t.Errorf("%s: refused by a document that is no longer in force: %v", name, err)
		}
		s.put(c.before)
		if _, err := s.ask(co, "", Cost{"requests", 5}); err == nil {
			t.Errorf("%s: granted under a document that is no longer in force", name)
		}
	}
}

func TestPermitIsNotGrantedByAnEntryThatWasDisabledMeanwhile(t *testing.T) {
	s := newShelf(t, oneLimit(""))
	c := New(s)
	if _, err := s.ask(c, ""); err != nil {
		t.Fatal(err)
	}
	s.entry(KeyEntry, keyID, `{"pool":"p"}`)
	s.entry(PoolEntry, "p", `{"disabled":true}`)
	if _, err := s.ask(c, ""); !errors.Is(err, ErrKeyDisabled) {
		t.Errorf("%v, want %v", err, ErrKeyDisabled)
	}
	s.entry(PoolEntry, "p", `{}`)
	if _, err := s.ask(c, ""); err != nil {
		t.Errorf("enabled again: %v", err)
	}
}

// TestLateAskIsMadeAgainWithTheStoresTime has a store whose clock is years away from this machine's.
func TestLateAskIsMadeAgainWithTheStoresTime(t *testing.T) {
	for _, years := range []int{-20, 20} {
		s := newShelf(t, `{"limits":{"q":{"scope":"key","kind":"quota","amount":10,"per":"hour"}}}`)
		s.now = InstantOf(noon.Time().AddDate(years, 0, 0)) + hour/2
		c := New(s)
		if d, err := s.ask(c, ""); err != nil || !d.Allowed {
			t.Fatalf("%d years: %+v, %v", years, d, err)
		}
		last := s.asked[len(s.asked)-1]
		if !last.Lines[0].Window.Contains(s.now) || last.NotAfter <= s.now || last.NotAfter > s.now.Later(time.Minute) {
			t.Errorf("%d years: window %v, not after %v, at %v", years, last.Lines[0].Window, last.NotAfter.Time(), s.now.Time())
		}
		s.asked = nil
		if _, err := s.ask(c, ""); err != nil || len(s.asked) != 1 {
			t.Errorf("%d years: once the time is known, the store was asked %d times", years, len(s.asked))
		}
	}
}

func TestWindowThatTurnsBetweenAskAndDecisionIsAskedForAgain(t *testing.T) {
	s := newShelf(t, `{"limits":{"q":{"scope":"key","kind":"quota","amount":10,"per":"hour"}}}`)
	c := New(s)
	if _, err := s.ask(c, ""); err != nil {
		t.Fatal(err)
	}
	s.asked, s.now = nil, s.now+hour
	if _, err := s.ask(c, ""); err != nil {
		t.Fatal(err)
	}
	if got := s.asked[len(s.asked)-1].Lines[0].Window; got != (Window{noon + hour, noon + 2*hour, noon + 3*hour}) {
		t.Errorf("window %v", got)
	}
}

func TestAskThatDocumentsOutrunIsGivenUp(t *testing.T) {
	for name, before := range map[string]func(*shelf, *Charge){
		"edits":   func(s *shelf, _ *Charge) { s.put(oneLimit(fmt.Sprintf(`"amount":%d`, len(s.asked)%7+1))) },
		"entries": func(s *shelf, _ *Charge) { s.entry(KeyEntry, keyID, fmt.Sprintf(`{"label":"%d"}`, len(s.asked))) },
		"time":    func(s *shelf, c *Charge) { s.now = c.NotAfter + 1 },
	} {
		s := newShelf(t, oneLimit(""))
		s.before = func(_ int, c *Charge) { before(s, c) }
		d, err := s.ask(New(s), "")
		if !errors.Is(err, ErrOverloaded) || d != nil {
			t.Errorf("%s: %+v, %v; want %v", name, d, err, ErrOverloaded)
		}
		if n := len(s.asked); n < 3 || n > maxRounds+1 {
			t.Errorf("%s: the store was asked %d times", name, n)
		}
	}
}

func TestEveryStoreErrorReachesTheCaller(t *testing.T) {
	for _, want := range []error{ErrStoreUnavailable, ErrOverloaded, context.Canceled, context.DeadlineExceeded} {
		s := newShelf(t, oneLimit(""))
		s.decide = func(c *Charge) { c.Outcome = Outcome{Err: want} }
		if d, err := s.ask(New(s), ""); !errors.Is(err, want) || d != nil {
			t.Errorf("Decide: %+v, %v; want %v", d, err, want)
		}
		s.load = func(DocID) (Record, error) { return Record{}, want }
		if d, err := s.ask(New(s), ""); !errors.Is(err, want) || d != nil {
			t.Errorf("Load: %+v, %v; want %v", d, err, want)
		}
	}
}

func TestUnknownProviderIsKnownOnceItIsStoredAndForgottenOnceItIsDeleted(t *testing.T) {
	s := newShelf(t, oneLimit(""))
	c, kept := New(s), s.docs[DocID{Provider: "acme"}]
	delete(s.docs, DocID{Provider: "acme"})
	if _, err := s.ask(c, ""); !errors.Is(err, ErrUnknownProvider) || len(s.asked) > 0 {
		t.Errorf("never stored: %v", err)
	}
	s.docs[DocID{Provider: "acme"}] = kept
	if _, err := s.ask(c, ""); err != nil {
		t.Errorf("stored: %v", err)
	}
	s.erase(DocID{Provider: "acme"})
	if _, err := s.ask(c, ""); !errors.Is(err, ErrUnknownProvider) {
		t.Errorf("deleted: %v", err)
	}
	s.put(oneLimit(""))
	if d, err := s.ask(c, ""); err != nil || d.Revision != 3 {
		t.Errorf("stored again: %+v, %v", d, err)
	}
}

func TestDocumentThatCanNotBeReadIsNobodysFault(t *testing.T) {
	s := newShelf(t, oneLimit(""))
	c := New(s)
	id := DocID{"acme", KeyEntry, keyID}
	s.docs[id] = Record{Revision: 1, Tag: "t", Body: []byte(`{"label":5}`)}
	if _, err := s.ask(c, ""); !errors.Is(err, ErrUnreadable) {
		t.Errorf("entry: %v", err)
	}
	delete(s.docs, id)
	s.docs[DocID{Provider: "acme"}] = Record{Revision: 2, Tag: "t", Body: []byte(`{}`)}
	if _, err := s.ask(c, ""); !errors.Is(err, ErrUnreadable) {
		t.Errorf("policy: %v", err)
	}
}

func TestDenialTellsWhoRefusedAndTheLongestWait(t *testing.T) {
	s := newShelf(t, `{"limits":{
		"a":{"scope":"key","kind":"rate","amount":10,"per":"100s"},
		"b":{"scope":"key","kind":"rate","amount":10,"per":"10s"},
		"c":{"scope":"key","kind":"rate","amount":10,"per":"10s"},
		"d":{"scope":"key","kind":"rate","amount":1,"per":"1h","mode":"shadow"}}}`)
	s.decide = func(c *Charge) {
		if s.judge(c); c.Outcome.Verdict != Granted {
			return
		}
		c.Outcome.Verdict = Denied
		for i := range c.Lines {
			l := &c.Lines[i]
			if used := []int64{10, 10, 3, 1}[i]; true {
				l.State = State{Used: used, Mark: s.now, Rate: l.Terms.Schedule.current().Rate}
			}
			l.Fits = l.Terms.Fits(l.State, l.Needs())
		}
	}
	d, err := s.ask(New(s), "")
	if err != nil || d.Allowed || d.RetryAfter != 10*time.Second || !slices.Equal(d.Violated(), []string{"a", "b"}) {
		t.Fatalf("%+v, %v", d, err)
	}
	if c, shadow := d.Limits[2], d.Limits[3]; c.Refused || c.RetryAfter != 0 || c.Remaining != 7 || shadow.Refused || !shadow.WouldDeny || shadow.RetryAfter != time.Hour {
		t.Errorf("%+v, %+v", c, shadow)
	}
}

func TestBatchDecidesEachAskOnItsOwnAndInOrder(t *testing.T) {
	s := newShelf(t, oneLimit(`"burst":5`))
	asks := []Ask{
		{Provider: "acme", Key: "a"},
		{Provider: "nobody", Key: "b"},
		{Provider: "acme", Key: "c", Cost: Costs{{"requests", 6}}},
		{},
		{Provider: "acme", Key: "d", DryRun: true},
	}
	s.entry(KeyEntry, KeyID("d"), `{"label":"stale at first"}`)
	want := []error{nil, ErrUnknownProvider, ErrCostExceedsLimit, ErrInvalid, nil}
	c := New(s)
	if _, err := s.ask(c, ""); err != nil { // so that the store's time is known
		t.Fatal(err)
	}
	s.asked = nil
	results := c.AcquireBatch(context.Background(), asks)
	for i, r := range results {
		if !errors.Is(r.Err, want[i]) || (r.Err == nil) != (r.Decision != nil) {
			t.Errorf("ask %d: %+v, %v; want %v", i, r.Decision, r.Err, want[i])
		}
	}
	if a, d := results[0].Decision, results[4].Decision; a.KeyID != KeyID("a") || d.KeyID != KeyID("d") {
		t.Errorf("decisions of %s and %s", a.KeyID, d.KeyID)
	}
	granted, ids := map[string]int{}, map[string]bool{}
	for _, c := range s.asked {
		granted[c.KeyID]++
		ids[c.PermitID] = true
		if c.DryRun != (c.KeyID == KeyID("d")) {
			t.Errorf("dry run %v for %s", c.DryRun, c.KeyID)
		}
	}
	if granted[KeyID("a")] != 1 || granted[KeyID("d")] != 2 || len(ids) != 3 {
		t.Errorf("asked %v with %d permit ids: only what was stale is asked again, under the same id", granted, len(ids))
	}
}

func TestNothingOfAnAskIsLeftForTheNext(t *testing.T) {
	s := newShelf(t, scopesPolicy)
	c := New(s)
	s.entry(KeyEntry, KeyID("other"), `{"pool":"p"}`)
	for range 50 { // attempts are reused
		if _, err := c.Acquire(context.Background(), Ask{Provider: "acme", Key: "other", Model: "m:free", Cost: Costs{{"x", 1}}, DryRun: true}); err != nil {
			t.Fatal(err)
		}
		d, err := s.ask(c, "m")
		last := s.asked[len(s.asked)-1]
		if err != nil || d.Pool != "" || len(d.IgnoredUnits) > 0 || len(d.Limits) != 4 || last.DryRun || last.Pool != "" || last.KeyID != keyID {
			t.Fatalf("%+v, %v", d, err)
		}
	}
}
