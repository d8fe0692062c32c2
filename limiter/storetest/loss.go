package storetest

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

const lossPolicy = `{"limits":{"all":{"scope":"key","kind":"quota","amount":10,"per":"month"}}}`

// write writes the entry of a key, for all instances to see.
func (m *team) write(key, doc string) {
	m.Helper()
	id := keyEntry(limiter.KeyID(key))
	if _, err := m.instances[0].PutEntry(m.Context(), id, []byte(doc), limiter.Edit{}); err != nil {
		m.Fatal(err)
	}
	m.look(key)
}

// look has all instances see what there is of a key.
func (m *team) look(key string) {
	for _, c := range m.instances {
		_, _ = c.Acquire(m.Context(), limiter.Ask{Provider: provider, Key: key, DryRun: true})
	}
}

// patch changes the policy.
func (m *team) patch(c *limiter.Coordinator, doc string) limiter.WrittenPolicy {
	m.Helper()
	w, err := c.PatchPolicy(m.Context(), provider, []byte(doc), limiter.Edit{})
	if err != nil {
		m.Fatal(err)
	}
	return w
}

// becomes puts another store in the place of the one that the team shares.
func (m *team) becomes(store limiter.Store) {
	for _, link := range m.links {
		link.Store = store
	}
}

// eventually polls until a check succeeds.
func eventually(t testing.TB, check func() error) {
	t.Helper()
	var err error
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatal(err)
}

// disabled is nil when a store has a key as disabled.
func disabled(store limiter.Store, key string) error {
	_, err := limiter.New(store).Acquire(context.Background(), limiter.Ask{Provider: provider, Key: key, DryRun: true})
	if errors.Is(err, limiter.ErrKeyDisabled) {
		return nil
	}
	return errors.Join(errors.New(key+" is not disabled"), err)
}

// testEmptied has a store lose all: what any instance knew is put back.
func testEmptied(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, lossPolicy)
	m.patch(m.instances[0], `{"limits":{"all":{"amount":20}}}`)
	m.write("sk-1", `{"disabled":true}`)
	m.write("sk-2", `{"limits":{"all":{"amount":3}}}`)
	only := limiter.Ask{Provider: provider, Key: "sk-3", DryRun: true}
	if _, err := m.instances[0].PutEntry(t.Context(), keyEntry(limiter.KeyID("sk-3")), []byte(`{"disabled":true}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.instances[1].Acquire(t.Context(), only); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Fatal(err)
	}

	empty := b.Open(t)
	m.becomes(empty)
	d := m.ask(0, limiter.Ask{Key: "sk-2"})
	if d.Limits[0].Amount != 3 {
		t.Errorf("decided by %+v, not by the documents that were known", d.Limits)
	}
	eventually(t, func() error { return disabled(empty, "sk-1") })
	// sk-3 is known to the second instance alone, which sees from the policy that there is something to look after.
	m.ask(1, limiter.Ask{Key: "sk-4"})
	eventually(t, func() error { return disabled(empty, "sk-3") })
	doc, err := limiter.New(empty).Policy(t.Context(), provider)
	if err != nil || doc.Revision != 3 || doc.Policy.Limit("all").Amount != 20 {
		t.Errorf("%+v, %v; want revision 3, as revision 2 was", doc, err)
	}
	eventually(t, func() error { // what is put back is counted after it is there
		if one, other := m.instances[0].PutBack(), m.instances[1].PutBack(); one == 0 || other == 0 {
			return fmt.Errorf("%d and %d documents were put back", one, other)
		}
		return nil
	})
	items, _, err := limiter.New(empty).History(t.Context(), provider, 0, 10)
	if err != nil || len(items) != 1 || items[0].By != "permitd" {
		t.Errorf("history %+v, %v", items, err)
	}
}

// testEmptiedAndWritten has operators and starting instances write into a store that was emptied, before any instance found out.
func testEmptiedAndWritten(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, lossPolicy)
	m.patch(m.instances[0], `{"limits":{"all":{"amount":20}}}`)
	empty := b.Open(t)
	file := limiter.ProviderDocs{Provider: provider, Policy: policy(t, `"other":{"scope":"provider","kind":"rate","amount":1,"per":"1h"}`)}
	if _, err := limiter.New(empty).Seed(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	m.becomes(empty)
	if w := m.patch(m.instances[0], `{"limits":{"all":{"burst":null}},"hold_ttl":"1m"}`); w.Policy.Limit("all") == nil || w.Policy.Limit("all").Amount != 20 || w.Revision != 4 {
		t.Errorf("patched %s at revision %d: not what was tuned", w.Policy.Body(), w.Revision)
	}

	// Who knows no more than what is stored has the last word.
	next := b.Open(t)
	stranger := limiter.New(next)
	if _, err := stranger.PutPolicy(t.Context(), provider, policy(t, `"mine":{"scope":"provider","kind":"rate","amount":1,"per":"1h"}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	m.becomes(next)
	if d := m.ask(0, limiter.Ask{Key: "sk-1"}); d.Limits[0].Name != "mine" {
		t.Errorf("decided by %+v: an operator's later write was overwritten", d.Limits)
	}
}

// testRolledBack has a store return to what it was a few writes ago.
func testRolledBack(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, lossPolicy)
	m.write("sk-1", `{"label":"good"}`)
	old, store := b.Open(t), m.links[0].Store
	for _, id := range []limiter.DocID{{Provider: provider}, keyEntry(limiter.KeyID("sk-1"))} {
		r, err := store.Load(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := old.Swap(t.Context(), id, "", r); err != nil { // its time is later than it was, and earlier than what follows
			t.Fatal(err)
		}
	}
	m.write("sk-1", `{"disabled":true}`)
	m.patch(m.instances[0], `{"limits":{"all":{"amount":20}}}`)
	m.look("sk-2")
	m.becomes(old)
	if _, err := m.instances[1].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"}); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("a key that was disabled: %v", err)
	}
	if d := m.ask(0, limiter.Ask{Key: "sk-2"}); d.Limits[0].Amount != 20 || d.Revision != 3 {
		t.Errorf("decided by %+v", d)
	}
	if err := disabled(old, "sk-1"); err != nil {
		t.Error(err)
	}

	// What is deleted in the ordinary way stays so.
	if err := m.instances[0].DeleteEntry(t.Context(), keyEntry(limiter.KeyID("sk-1")), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	m.ask(1, limiter.Ask{Key: "sk-1"})
	if err := disabled(old, "sk-1"); err == nil {
		t.Error("a deleted entry was put back")
	}
}

// testAssumed starts without a store.
func testAssumed(t *testing.T, b Backend) {
	link := &cut{Store: b.Open(t)}
	link.off.Store(true)
	c := limiter.New(link, limiter.StandIn(standIn))
	entry, err := limiter.ParseEntry(limiter.KeyEntry, []byte(`{"disabled":true}`), policy(t, ""))
	if err != nil {
		t.Fatal(err)
	}
	docs := limiter.ProviderDocs{
		Provider: provider,
		Policy:   policy(t, `"all":{"scope":"provider","kind":"quota","amount":10,"per":"month"}`),
		Entries:  []limiter.EntryDoc{{Name: limiter.KeyID("sk-1"), Entry: entry}},
	}
	if err := c.Assume(docs); err != nil {
		t.Fatal(err)
	}
	m := &team{TB: t, links: []*cut{link}, instances: []*limiter.Coordinator{c}}
	for range 4 {
		if d := m.ask(0, limiter.Ask{Key: "sk-2"}); !d.Allowed || !d.Degraded || d.Revision != 0 {
			t.Errorf("%+v", d)
		}
	}
	if _, err := c.Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"}); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("a key that the file disables: %v", err)
	}
	if _, err := c.Acquire(t.Context(), limiter.Ask{Provider: "other", Key: "sk-1"}); !errors.Is(err, limiter.ErrStoreUnavailable) {
		t.Errorf("a provider that the file does not have: %v", err)
	}
	m.cut(false)
	if _, err := c.Seed(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	m.caughtUp("all", limiter.UsageQuery{}, 4)
	if d := m.ask(0, limiter.Ask{Key: "sk-2"}); d.Degraded || d.Revision != 1 {
		t.Errorf("%+v", d)
	}
	if _, err := c.Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1"}); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("a key that the file disables, once it is stored: %v", err)
	}
}

// testOlderEntry has an instance put back less of an entry than another knows.
func testOlderEntry(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, lossPolicy)
	m.write("sk-1", `{"label":"good"}`) // both saw it
	if _, err := m.instances[1].PutEntry(t.Context(), keyEntry(limiter.KeyID("sk-1")), []byte(`{"disabled":true}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	if _, err := m.instances[1].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1", DryRun: true}); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Fatal(err)
	}
	empty := b.Open(t)
	m.becomes(empty)
	m.ask(0, limiter.Ask{Key: "sk-9"}) // instance 0 finds out first; it last saw the entry before it was disabled
	eventually(t, func() error {
		r, err := empty.Load(t.Context(), keyEntry(limiter.KeyID("sk-1")))
		if err == nil && r.Tag == "" {
			err = errors.New("not put back")
		}
		return err
	})
	if _, err := m.instances[1].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1", DryRun: true}); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("instance 1 knew that the key was disabled at revision 2: %v", err)
	}
	time.Sleep(100 * time.Millisecond)
	if err := disabled(empty, "sk-1"); err != nil {
		t.Error(err)
	}
}

// testCreatedAgain deletes an entry and creates it again, while the store's clock is back: no instance that knew the old one puts
// it back, now or later.
func testCreatedAgain(t *testing.T, b Backend) {
	store, set := b.OpenVirtual(t)
	set(start)
	m := &team{TB: t, instances: []*limiter.Coordinator{limiter.New(store), limiter.New(store)}}
	for _, p := range []string{provider, "twin"} {
		if _, err := m.instances[0].PutPolicy(t.Context(), p, policy(t, `"all":{"scope":"key","kind":"quota","amount":10,"per":"month"}`), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	id := keyEntry(limiter.KeyID("sk-1"))
	for n := range 3 {
		m.write("sk-1", `{"label":"good"}`) // both saw it
		m.write("sk-1", `{"label":"better"}`)
		set(start - limiter.Instant((5+time.Duration(n)*5)*time.Second/time.Microsecond))
		if err := m.instances[0].DeleteEntry(t.Context(), id, limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		if _, err := m.instances[0].PutEntry(t.Context(), id, []byte(`{"disabled":true}`), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
		for i, c := range m.instances {
			if _, err := c.Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1", DryRun: true}); !errors.Is(err, limiter.ErrKeyDisabled) {
				t.Errorf("turn %d: instance %d asks for a key that was disabled: %v", n, i, err)
			}
		}
		if err := disabled(store, "sk-1"); err != nil {
			t.Error(err)
		}
	}
	if n := m.instances[1].PutBack(); n != 0 {
		t.Errorf("%d documents were put back", n)
	}
}

// testOlderPolicy does the same with a policy.
func testOlderPolicy(t *testing.T, b Backend) {
	m := newTeam(t, b, 2, lossPolicy)
	m.patch(m.instances[1], `{"limits":{"all":{"amount":3}}}`) // instance 0 has not heard
	m.becomes(b.Open(t))
	m.ask(0, limiter.Ask{Key: "sk-9"})
	if d := m.ask(1, limiter.Ask{Key: "sk-9"}); d.Limits[0].Amount != 3 {
		t.Errorf("the acknowledged edit, which instance 1 knew, is lost: %+v", d.Limits[0])
	}
}

// testSeededEntry has an instance start, with a file, on a store that was emptied.
func testSeededEntry(t *testing.T, b Backend) {
	m := newTeam(t, b, 1, lossPolicy)
	m.write("sk-1", `{"disabled":true}`)
	empty := b.Open(t)
	p := policy(t, `"all":{"scope":"key","kind":"quota","amount":10,"per":"month"}`)
	e, err := limiter.ParseEntry(limiter.KeyEntry, []byte(`{"label":"from the file"}`), p)
	if err != nil {
		t.Fatal(err)
	}
	docs := limiter.ProviderDocs{Provider: provider, Policy: p, Entries: []limiter.EntryDoc{{Name: limiter.KeyID("sk-1"), Entry: e}}}
	time.Sleep(time.Millisecond)
	if _, err := limiter.New(empty).Seed(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
	m.becomes(empty)
	if _, err := m.instances[0].Acquire(t.Context(), limiter.Ask{Provider: provider, Key: "sk-1", DryRun: true}); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("a key that an operator disabled: %v", err)
	}
}
