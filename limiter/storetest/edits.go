package storetest

import (
	"context"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func quota(amount string) string {
	return `"rpd": {"scope":"key","kind":"quota","amount":` + amount + `,"per":"day"}`
}

func rate(amount, per string) string {
	return `"rpd": {"scope":"key","kind":"rate","amount":` + amount + `,"per":"` + per + `"}`
}

func testEdits(t *testing.T, b Backend) {
	t.Run("quota", func(t *testing.T) {
		n := newBench(t, b, quota("1000"))
		n.grant(900)
		n.put(quota("2000"))
		n.remaining("rpd", 1100)
		n.put(quota("500"))
		n.remaining("rpd", 0)
		n.deny(1, 15*time.Hour)
		n.put(quota("901"))
		n.grant(1)
		n.remaining("rpd", 0)
	})
	t.Run("rate", func(t *testing.T) {
		n := newBench(t, b, rate("1000", "24h"))
		n.grant(900)
		n.put(rate("2000", "24h"))
		n.remaining("rpd", 1100)
		n.put(rate("500", "24h"))
		n.remaining("rpd", 0)
		// 401 units have to drain before one fits, at 500 a day: 172.8 s each.
		n.deny(1, 401*172800*time.Millisecond)
	})
	t.Run("toggles", func(t *testing.T) {
		n := newBench(t, b, rate("100", "1h"))
		n.grant(100)
		for i := range 100 {
			n.put(rate([]string{"1000", "1", "100"}[i%3], []string{"1h", "1d"}[i%2]))
		}
		n.put(rate("100", "1h"))
		n.remaining("rpd", 0)
		n.deny(1, 36*time.Second)
	})
	t.Run("removed and brought back", func(t *testing.T) {
		n := newBench(t, b, quota("1000"))
		n.grant(900)
		n.put(``)
		n.grant(5)
		n.put(quota("1000"))
		n.remaining("rpd", 100)
	})
}

// testDrainPerStretch: full at 09:00, raised to 4000 a day at 15:00. Six hours drain at 1000 a day, the rest at 4000.
func testDrainPerStretch(t *testing.T, b Backend) {
	n := newBench(t, b, rate("1000", "1d"))
	n.grant(1000)
	n.at(6 * time.Hour)
	n.put(rate("4000", "1d"))
	n.remaining("rpd", 4000-750)
	n.at(9 * time.Hour)
	n.remaining("rpd", 4000-250)

	n = newBench(t, b, rate("1000", "1d"))
	n.grant(1000)
	n.at(6 * time.Hour)
	n.put(rate("4000", "1d"))
	n.at(7 * time.Hour)
	n.put(rate("2000", "1d")) // nobody asked under the revision between
	n.at(8 * time.Hour)
	n.remaining("rpd", 2000-(1000-250-166-84)) // 166.67 in the seventh hour, 83.33 in the eighth
}

// testSlowedLimit: a counter that would have drained within a second is owed for an hour after the edit, and must not
// have been forgotten meanwhile.
func testSlowedLimit(t *testing.T, b Backend) {
	n := newBench(t, b, rate("10", "1s"))
	n.grant(10)
	n.put(rate("10", "10h"))
	for i := range 2000 { // traffic of others, which makes a store tidy up
		n.at(2*time.Second + time.Duration(i)*time.Millisecond)
		n.askFor(limiter.Ask{Key: "sk-other-" + strconv.Itoa(i)})
	}
	n.at(30 * time.Minute)
	n.deny(1, 30*time.Minute)
	n.at(time.Hour)
	n.grant(1)
}

func testOverrides(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, `
		"key": {"scope":"key","kind":"rate","amount":10,"per":"1h"},
		"rpd": {"scope":"pool","kind":"quota","amount":100,"per":"day"}`)
	put := func(name string, kind limiter.EntryKind, doc string) {
		t.Helper()
		if _, err := n.PutEntry(ctx, limiter.DocID{Provider: provider, Kind: kind, Name: name}, []byte(doc), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	id := limiter.KeyID("sk-1")
	n.grant(10)
	n.remaining("rpd", 90)
	put(id, limiter.KeyEntry, `{"limits":{"key":{"amount":20}}}`)
	n.remaining("key", 10) // felt at once, nothing refilled
	n.at(30 * time.Minute)
	n.remaining("key", 20)
	n.grant(20)
	put(id, limiter.KeyEntry, `{}`)
	n.at(90 * time.Minute)
	n.remaining("key", 0) // 10 of 20 have drained, at the policy's own rate
	put(id, limiter.KeyEntry, `{"pool":"acme"}`)
	n.remaining("rpd", 100) // another pool's usage; its own stays with it
	put("acme", limiter.PoolEntry, `{"limits":{"rpd":{"amount":50}}}`)
	n.remaining("rpd", 50)
	put(id, limiter.KeyEntry, `{"disabled":false}`)
	n.remaining("rpd", 70)
}

func testRestart(t *testing.T, b Backend) {
	n := newBench(t, b, quota("1000"))
	n.grant(900)
	if got := n.put(`"rpd": {"scope":"key","kind":"quota","amount":1000,"per":"week"}`); !slices.Equal(got, []string{"rpd"}) {
		t.Fatalf("restarted %v, want rpd", got)
	}
	n.remaining("rpd", 1000)
	if got := n.put(`"rpd": {"scope":"key","kind":"quota","amount":10,"per":"week"}`); len(got) != 0 {
		t.Fatalf("restarted %v by an edit of the amount", got)
	}
}
