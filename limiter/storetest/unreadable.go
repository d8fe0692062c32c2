package storetest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

const ofLater = `{"limits":{"l":{"scope":"key","kind":"tide","amount":1}},"colour":"red"}`

// rewrite stores another body under a document, as a later version of permitd would.
func (n *bench) rewrite(id limiter.DocID, body string) {
	n.Helper()
	r, err := n.store.Load(context.Background(), id)
	if err == nil {
		was := r.Tag
		r.Revision, r.Tag, r.Body = r.Revision+1, was+"x", []byte(body)
		_, err = n.store.Swap(context.Background(), id, was, r)
	}
	if err != nil {
		n.Fatal(err)
	}
}

// unreadable expects the error of a document of another version, which is neither the asker's fault nor an outage.
func (n *bench) unreadable(err error, parts ...string) {
	n.Helper()
	var u *limiter.UnreadableError
	if !errors.As(err, &u) || !errors.Is(err, limiter.ErrUnreadable) || errors.Is(err, limiter.ErrInvalid) || errors.Is(err, limiter.ErrStoreUnavailable) {
		n.Fatalf("got %v", err)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			n.Errorf("%v does not say %q", err, part)
		}
	}
}

// testUnreadablePolicy: an instance that can't read a policy decides nothing there, by an older one neither, goes on
// with the other providers, and takes over what it can read again.
func testUnreadablePolicy(t *testing.T, b Backend) {
	n := newBench(t, b, onePerMinute)
	ctx := context.Background()
	if _, err := n.PutPolicy(ctx, "anthropic", policy(t, onePerMinute), limiter.Edit{}); err != nil {
		t.Fatal(err)
	}
	n.grant(0) // the instance has seen the policy before
	n.rewrite(limiter.DocID{Provider: provider}, ofLater)
	fresh := limiter.New(n.store, limiter.StandIn(func(func() limiter.Instant) limiter.Store { return n.store }))
	for _, c := range []*limiter.Coordinator{n.Coordinator, fresh} {
		results := c.AcquireBatch(ctx, []limiter.Ask{{Provider: provider, Key: "sk-1"}, {Provider: "anthropic", Key: "sk-1", DryRun: true}})
		n.unreadable(results[0].Err, "openai", "/limits/l/kind", "rate")
		if results[1].Err != nil || !results[1].Decision.Allowed {
			t.Errorf("another provider: %+v, %v", results[1].Decision, results[1].Err)
		}
		_, err := c.Policy(ctx, provider)
		n.unreadable(err)
		docs, _, err := c.Policies(ctx, "", 10)
		if err != nil || len(docs) != 3 || docs[0].Unreadable != nil || docs[1].Unreadable == nil || string(docs[1].Policy.Body()) != ofLater {
			t.Errorf("listed %+v, %v", docs, err)
		}
	}
	n.put(onePerMinute) // what nobody can read is replaced
	n.grant(1)
	n.rewrite(limiter.DocID{Provider: provider}, ofLater)
	if err := n.DeletePolicy(ctx, provider, limiter.Edit{}); err != nil {
		t.Error(err)
	}
}

// testUnreadableEntry: an entry that can't be read spoils what its key asks for, and nothing else.
func testUnreadableEntry(t *testing.T, b Backend) {
	n := newBench(t, b, onePerMinute)
	ctx := context.Background()
	id := func(key string) limiter.DocID {
		return limiter.DocID{Provider: provider, Kind: limiter.KeyEntry, Name: limiter.KeyID(key)}
	}
	for _, key := range []string{"sk-1", "sk-2"} {
		if _, err := n.PutEntry(ctx, id(key), []byte(`{}`), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	n.rewrite(id("sk-1"), `{"colour":"red"}`)
	_, err := n.Acquire(ctx, limiter.Ask{Provider: provider, Key: "sk-1"})
	n.unreadable(err, limiter.KeyID("sk-1"), "/colour")
	_, err = n.Entry(ctx, id("sk-1"))
	n.unreadable(err)
	if d := n.askFor(limiter.Ask{Key: "sk-2", DryRun: true}); !d.Allowed {
		t.Errorf("another key: %+v", d)
	}
	entries, _, err := n.Entries(ctx, provider, limiter.KeyEntry, "", 10)
	if err != nil || len(entries) != 2 || !slices.ContainsFunc(entries, func(e limiter.StoredEntry) bool {
		return e.Unreadable != nil && string(e.Entry.Body()) == `{"colour":"red"}`
	}) {
		t.Errorf("listed %+v, %v", entries, err)
	}
	if _, err := n.PutEntry(ctx, id("sk-1"), []byte(`{"label":"mended"}`), limiter.Edit{}); err != nil {
		t.Error(err)
	}
	n.grant(1)
}
