package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// testHistorySize writes more revisions than a history has bytes for, large ones and small ones.
func testHistorySize(t *testing.T, b Backend) {
	store, set := b.OpenVirtual(t)
	set(start)
	ctx, id, tag, sizes := context.Background(), limiter.DocID{Provider: provider}, "", []int(nil)
	write := func(body int) {
		t.Helper()
		r := limiter.Record{Revision: int64(len(sizes) + 1), Tag: "t" + strconv.Itoa(len(sizes)), Body: bytes.Repeat([]byte("x"), body)}
		stored, err := store.Swap(ctx, id, tag, r)
		if err != nil {
			t.Fatal(err)
		}
		tag, sizes = stored.Tag, append(sizes, r.Size())
	}
	check := func() {
		t.Helper()
		oldest, size := len(sizes), 0 // as many of the last as it takes
		for size < limiter.HistorySize && oldest > 0 && len(sizes)-oldest < limiter.HistoryLength {
			oldest--
			size += sizes[oldest]
		}
		records, at, err := store.History(ctx, provider, int64(oldest+2), 10)
		if err != nil || len(records) != 1 || records[0].Revision != int64(oldest+1) || at != int64(oldest+1) ||
			records[0].Size() != sizes[oldest] {
			t.Fatalf("after %d writes: %d, oldest %d, %v; want one of revision %d", len(sizes), len(records), at, err, oldest+1)
		}
	}
	for range 3 {
		write(100)
	}
	check()
	for range limiter.HistorySize/limiter.MaxPolicySize + 3 {
		write(limiter.MaxPolicySize)
		check()
	}
	for range 5 { // these take the place of no more than they have bytes
		write(100)
		check()
	}
	write(limiter.HistorySize)
	check()
}

// testPieces reads a history, entries and policies that are too large to be read at once.
func testPieces(t *testing.T, b Backend) {
	ctx := context.Background()
	n := newBench(t, b, onePerMinute)
	const many, large = 6, 200 << 10
	globs := func(i int) string { // in four limits, as none may have more than 256
		models := `"` + strconv.Itoa(i) + strings.Repeat(`","`+strings.Repeat("m", 250), large/4/253) + `"`
		of := `: {"scope":"key","kind":"rate","amount":1,"per":"1m","models":[` + models + `]}`
		return `"a"` + of + `, "b"` + of + `, "c"` + of + `, "d"` + of
	}
	const keys, small = 150, 8 << 10 // an entry can't be larger
	var overrides []string
	for i := range 64 {
		overrides = append(overrides, fmt.Sprintf(`"%060d":{"amount":1000000000000,"burst":1000000000000,"mode":"enforce"}`, i))
	}
	for i := range keys {
		id := limiter.DocID{Provider: provider, Kind: limiter.PoolEntry, Name: fmt.Sprintf("pool-%03d", i)}
		r := limiter.Record{Revision: 1, Tag: "t", Generation: "1", Body: []byte(`{"limits":{` + strings.Join(overrides, ",") + `}}`)}
		if _, err := n.store.Swap(ctx, id, "", r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range many {
		n.put(globs(i))
		if _, err := n.PutPolicy(ctx, "p"+strconv.Itoa(100+i), policy(t, globs(i)), limiter.Edit{}); err != nil {
			t.Fatal(err)
		}
	}
	records, oldest, err := n.store.History(ctx, provider, 0, 1000)
	if err != nil || len(records) > limiter.PieceSize/large+1 || len(records) == 0 || oldest != 1 {
		t.Errorf("a piece of history: %d, oldest %d, %v", len(records), oldest, err)
	}
	listed, err := n.store.List(ctx, provider, limiter.PoolEntry, "", 1000)
	if err != nil || len(listed) > limiter.PieceSize/small+1 || len(listed) == 0 {
		t.Errorf("a piece of a list: %d, %v", len(listed), err)
	}
	pages := func(what string, want, size int, read func() (got int, more bool, err error)) {
		t.Helper()
		for all, more := 0, true; more; {
			var got int
			if got, more, err = read(); err != nil || got > limiter.PageSize/size+2 || got == 0 {
				t.Fatalf("a page of %s: %d, %v", what, got, err)
			}
			if all += got; !more && all != want {
				t.Errorf("%d of %s, want %d", all, what, want)
			}
		}
	}
	before := int64(0)
	pages("history", many+1, large, func() (int, bool, error) {
		items, oldest, err := n.History(ctx, provider, before, 1000)
		if err != nil {
			return 0, false, err
		}
		for _, i := range items {
			if before != 0 && i.Revision != before-1 {
				t.Errorf("revision %d after %d", i.Revision, before)
			}
			before = i.Revision
		}
		return len(items), before > oldest, nil
	})
	after := ""
	pages("entries", keys, small, func() (int, bool, error) {
		entries, more, err := n.Entries(ctx, provider, limiter.PoolEntry, after, 1000)
		for _, e := range entries {
			after = e.Name
		}
		return len(entries), more, err
	})
	after = ""
	pages("policies", many+2, large, func() (int, bool, error) {
		docs, more, err := n.Policies(ctx, after, 1000)
		for _, d := range docs {
			after = d.Provider
		}
		return len(docs), more, err
	})
}

// testPolicySize patches a policy so that it is too large.
func testPolicySize(t *testing.T, b Backend) {
	ctx := context.Background()
	limit := func(i int) string { // of 64,614 bytes
		glob := `,"` + strings.Repeat("m", 250) + `"`
		return fmt.Sprintf(`"l%02d":{"scope":"key","kind":"rate","amount":1,"per":"1m","models":["x"%s]}`, i, strings.Repeat(glob, 255))
	}
	limits := limit(0)
	for i := range 15 {
		limits += "," + limit(i+1)
	}
	n := newBench(t, b, limits)
	_, err := n.PatchPolicy(ctx, provider, []byte(`{"limits":{`+limit(16)+`}}`), limiter.Edit{})
	if !errors.Is(err, limiter.ErrInvalid) || !strings.Contains(err.Error(), "at most 1048576") {
		t.Errorf("%v, want that it is too large", err)
	}
	if d, err := n.Policy(ctx, provider); err != nil || d.Revision != 1 {
		t.Errorf("revision %d, %v", d.Revision, err)
	}
}
