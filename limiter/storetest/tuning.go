package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func keyEntry(id string) limiter.DocID {
	return limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: id}
}

// entry writes the entry of a key.
func (n *bench) entry(id, doc string) limiter.StoredEntry {
	n.Helper()
	e, err := n.PutEntry(context.Background(), keyEntry(id), []byte(doc), limiter.Edit{})
	if err != nil {
		n.Fatal(err)
	}
	return e
}

// asks is what becomes of an ask of a key that costs 1.
func (n *bench) asks(key string) (*limiter.Decision, error) {
	return n.Acquire(context.Background(), limiter.Ask{Provider: provider, Key: key})
}

func testPatch(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "1d")+","+quotaOf("month"))
	n.grant(900)
	w, err := n.PatchPolicy(ctx, provider, []byte(`{"limits":{"rpd":{"amount":2000}}}`), limiter.Edit{By: "ann", Note: "more"})
	if err != nil || w.Revision != 2 || w.Created || w.Restarted != nil {
		t.Fatalf("%+v, %v", w, err)
	}
	n.remaining("rpd", 1100)
	if w, err = n.PatchPolicy(ctx, provider, []byte(`{"limits":{"month":null,"rpd":{"unit":"tokens"}}}`), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(w.Restarted, []string{"rpd"}) || len(w.Policy.Limits) != 1 {
		t.Errorf("%+v", w)
	}
	for _, patch := range []string{`[]`, `7`, `{"limits":{"rpd":{"amount":0}}}`, `{"limits":{"rpd":{"amount":1,"amount":2}}}`, `{`, `{"nope":1}`} {
		if _, err := n.PatchPolicy(ctx, provider, []byte(patch), limiter.Edit{}); !errors.Is(err, limiter.ErrInvalid) {
			t.Errorf("%s: %v", patch, err)
		}
	}
	if _, err := n.PatchPolicy(ctx, "nobody", []byte(`{}`), limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownProvider) {
		t.Errorf("of an unknown provider: %v", err)
	}
	var conflict *limiter.ConflictError
	if _, err := n.PatchPolicy(ctx, provider, []byte(`{}`), limiter.Edit{Tag: "old"}); !errors.As(err, &conflict) || conflict.Revision != 3 {
		t.Errorf("on top of another: %v", err)
	}
	if _, err := n.PutPolicy(ctx, provider, w.Policy, limiter.Edit{Absent: true}); !errors.As(err, &conflict) || conflict.Revision != 3 {
		t.Errorf("created again: %v", err)
	}
	n.entry(key1, `{"label":"a"}`)
	e, err := n.PatchEntry(ctx, keyEntry(key1), []byte(`{"disabled":true}`), limiter.Edit{})
	if err != nil || string(e.Entry.Body()) != `{"label":"a","disabled":true}` || e.Revision != 2 || e.Created {
		t.Errorf("%s, %v", e.Entry.Body(), err)
	}
	if _, err := n.asks("sk-1"); !errors.Is(err, limiter.ErrKeyDisabled) {
		t.Errorf("asked with a disabled key: %v", err)
	}
	if _, err := n.PatchEntry(ctx, keyEntry(limiter.KeyID("sk-2")), []byte(`{}`), limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownEntry) {
		t.Errorf("of a key without an entry: %v", err)
	}
}

func quotaOf(name string) string {
	return `"` + name + `": {"scope":"key","kind":"quota","amount":1000,"per":"month"}`
}

// testConcurrentPatches: patches to different members are all in the end, whoever makes them.
func testConcurrentPatches(t *testing.T, b Backend) {
	ctx := context.Background()
	store := b.Open(t)
	var limits string
	for i := range 8 {
		limits += fmt.Sprintf(`%s"l%d": {"scope":"key","kind":"rate","amount":1,"per":"1m"}`, []string{"", ","}[min(i, 1)], i)
	}
	if _, err := limiter.New(store).PutPolicy(ctx, provider, policy(t, limits), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			c := limiter.New(store)
			for n := range 5 {
				patch := fmt.Sprintf(`{"limits":{"l%d":{"amount":%d}}}`, i, n+2)
				if _, err := c.PatchPolicy(ctx, provider, []byte(patch), limiter.Edit{By: strconv.Itoa(i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	c := limiter.New(store)
	doc, err := c.Policy(ctx, provider)
	if err != nil || doc.Revision != 41 {
		t.Fatalf("%+v, %v", doc, err)
	}
	for _, l := range doc.Policy.Limits {
		if l.Amount != 6 {
			t.Errorf("%s: %d, the last patch is lost", l.Name, l.Amount)
		}
	}
	items, _, err := c.History(ctx, provider, 0, 1000)
	if err != nil || len(items) != 41 {
		t.Fatalf("%d items, %v", len(items), err)
	}
	for i, item := range items {
		if item.Revision != int64(41-i) {
			t.Errorf("item %d is revision %d", i, item.Revision)
		}
	}
}

func testHistory(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "1d"))
	for i := range 4 {
		n.at(time.Duration(i+1) * time.Minute)
		patch := fmt.Sprintf(`{"limits":{"rpd":{"amount":%d}}}`, 2000+i)
		if _, err := n.PatchPolicy(ctx, provider, []byte(patch), limiter.Edit{By: "ann", Note: "step " + strconv.Itoa(i)}); err != nil {
			t.Fatal(err)
		}
	}
	items, _, err := n.History(ctx, provider, 0, 2)
	if err != nil || len(items) != 2 || items[0].Revision != 5 || items[1].Revision != 4 {
		t.Fatalf("%+v, %v", items, err)
	}
	if i := items[1]; i.By != "ann" || i.Note != "step 2" || !i.At.Equal(start.Time().Add(3*time.Minute)) || string(i.Patch) != `{"limits":{"rpd":{"amount":2002}}}` {
		t.Errorf("%+v %s", i, i.Patch)
	}
	if items, _, err = n.History(ctx, provider, 4, 10); err != nil || len(items) != 3 || items[0].Revision != 3 || items[2].Revision != 1 {
		t.Errorf("before 4: %+v, %v", items, err)
	}
	if items, _, err = n.History(ctx, provider, 1, 10); err != nil || len(items) != 0 {
		t.Errorf("before 1: %+v, %v", items, err)
	}
	n.grant(500)
	w, err := n.Rollback(ctx, provider, 3, limiter.Edit{By: "bob"})
	if err != nil || w.Revision != 6 || w.Policy.Limits[0].Amount != 2001 {
		t.Fatalf("%+v, %v", w, err)
	}
	n.remaining("rpd", 1501)
	for _, revision := range []int64{0, -1, 7, 99} {
		if _, err := n.Rollback(ctx, provider, revision, limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownRevision) {
			t.Errorf("to %d: %v", revision, err)
		}
	}
	if _, _, err := n.History(ctx, "nobody", 0, 10); !errors.Is(err, limiter.ErrUnknownProvider) {
		t.Errorf("of an unknown provider: %v", err)
	}
	if _, err := n.Rollback(ctx, "nobody", 1, limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownProvider) {
		t.Errorf("of an unknown provider: %v", err)
	}
	for range limiter.HistoryLength {
		if w, err = n.PatchPolicy(ctx, provider, []byte(`{}`), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	last := w.Revision - limiter.HistoryLength + 1
	if items, _, err = n.History(ctx, provider, last+3, 10); err != nil || len(items) != 3 || items[2].Revision != last {
		t.Errorf("the last of %d: %+v, %v", last, items, err)
	}
	if _, err := n.Rollback(ctx, provider, last-1, limiter.Edit{}); !errors.Is(err, limiter.ErrUnknownRevision) {
		t.Errorf("to one that is no longer kept: %v", err)
	}
	if w, err := n.Rollback(ctx, provider, last, limiter.Edit{}); err != nil || w.Revision != last+limiter.HistoryLength {
		t.Errorf("to the last that is kept: %+v, %v", w, err)
	}
}

func testEntries(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d"))
	var ids []string
	for i := range 25 {
		id := limiter.KeyID("sk-" + strconv.Itoa(i))
		if e := n.entry(id, `{"label":"`+strconv.Itoa(i)+`"}`); !e.Created || e.Revision != 1 {
			t.Fatalf("%+v", e)
		}
		ids = append(ids, id)
	}
	slices.Sort(ids)
	var seen []string
	for after := ""; ; {
		page, _, err := n.Entries(ctx, provider, limiter.KeyEntry, after, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			seen, after = append(seen, e.Name), e.Name
		}
	}
	if !slices.Equal(seen, ids) {
		t.Errorf("listed %v, want %v", seen, ids)
	}
	e, err := n.Entry(ctx, keyEntry(ids[3]))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.DeleteEntry(ctx, keyEntry(ids[3]), limiter.Edit{Tag: "other"}); !errors.Is(err, limiter.ErrConflict) {
		t.Errorf("on top of another: %v", err)
	}
	if err := n.DeleteEntry(ctx, keyEntry(ids[3]), limiter.Edit{Tag: e.Tag}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{n.DeleteEntry(ctx, keyEntry(ids[3]), limiter.Edit{}), second(n.Entry(ctx, keyEntry(ids[3])))} {
		if !errors.Is(err, limiter.ErrUnknownEntry) {
			t.Errorf("once deleted: %v", err)
		}
	}
	if all, _, err := n.Entries(ctx, provider, limiter.KeyEntry, "", 100); err != nil || len(all) != 24 {
		t.Errorf("%d are left, %v", len(all), err)
	}
	// One that had an override is remembered, so that what it drained is.
	n.entry(key1, `{"limits":{"rpd":{"amount":500}}}`)
	n.grant(400)
	if err := n.DeleteEntry(ctx, keyEntry(key1), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	n.remaining("rpd", 600)
	if all, _, err := n.Entries(ctx, provider, limiter.KeyEntry, "", 100); err != nil || slices.ContainsFunc(all, func(e limiter.StoredEntry) bool { return e.Name == key1 }) {
		t.Errorf("listed though it is deleted: %v, %v", all, err)
	}
	for name, id := range map[string]limiter.DocID{
		"a raw key":      keyEntry("sk-1"),
		"a pool's name":  {Provider: provider, Kind: limiter.PoolEntry, Name: "A B"},
		"no name at all": keyEntry(""),
	} {
		if _, err := n.PutEntry(ctx, id, []byte(`{}`), limiter.Edit{}); !errors.Is(err, limiter.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func testPreview(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, rate("1000", "10d"))
	n.grant(900)
	proposal := policy(t, rate("905", "1d")+`,"new":{"scope":"key","kind":"quota","amount":3,"per":"day"},"slots":{"scope":"key","kind":"concurrency","amount":5}`)
	asks := []limiter.Ask{
		{Provider: provider, Key: "sk-1", Cost: requests(3)},
		{Provider: provider, Key: "sk-1", Cost: requests(3), Hold: true},
		{Provider: provider, Key: "sk-1", Cost: requests(4)},
		{Provider: provider, Key: "sk-2", Cost: requests(3)},
		{Provider: provider, Key: "", Cost: requests(3)},
	}
	for range 2 {
		results, err := n.Preview(ctx, provider, proposal, asks)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []bool{true, true, false, true, false} {
			if r := results[i]; want != (r.Err == nil && r.Decision.Allowed) {
				t.Errorf("ask %d: %+v", i, r)
			}
		}
		if d := results[0].Decision; d.Revision != 2 || d.PermitID != "" || d.Limits[1].Remaining != 5 || d.Limits[0].Remaining != 3 {
			t.Errorf("%+v", d)
		}
	}
	n.remaining("rpd", 100)
	if doc, err := n.Policy(ctx, provider); err != nil || doc.Revision != 1 {
		t.Errorf("%+v, %v", doc, err)
	}
	if r, err := n.Preview(ctx, provider, nil, asks[:1]); err != nil || !r[0].Decision.Allowed || r[0].Decision.Revision != 1 {
		t.Errorf("under the policy in force: %+v, %v", r, err)
	}
	if r, err := n.Preview(ctx, "nobody", proposal, []limiter.Ask{{Provider: "nobody", Key: "sk-1", Cost: requests(3)}}); err != nil || !r[0].Decision.Allowed {
		t.Errorf("of a provider that does not exist: %+v, %v", r, err)
	}
	n.put(rate("905", "10d")) // a denial under the proposal has left nothing behind
	n.deny(6, 954696133*time.Microsecond)
}

func testInstances(t *testing.T, b Backend) {
	store, set := b.OpenVirtual(t)
	ctx := context.Background()
	set(start)
	self := &limiter.Instance{ID: "one", Version: "v1", StartedAt: start.Time(), Applied: map[string]int64{provider: 7}}
	all, err := store.Instances(ctx, self)
	if err != nil || len(all) != 1 || all[0].ID != "one" || all[0].Applied[provider] != 7 || !all[0].StartedAt.Equal(start.Time()) {
		t.Fatalf("%+v, %v", all, err)
	}
}
