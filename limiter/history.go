package limiter

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// The history of a policy keeps its last HistoryLength revisions, or as many of the last as are needed for HistorySize bytes
// if these are fewer. The oldest go first, and the last is always kept.
const (
	HistoryLength = 1000
	HistorySize   = 16 << 20
)

// HistoryItem is one write of a policy.
type HistoryItem struct {
	Revision int64
	At       time.Time
	By, Note string
	Patch    []byte // a JSON merge patch from the revision before; null: the provider was deleted
}

// History returns what was written of a policy before a revision (0: all), the newest first: a page of at most n items and
// about [PageSize] bytes. oldest is the oldest revision that is kept: more follows a page that does not end with that.
func (c *Coordinator) History(ctx context.Context, provider string, before int64, n int) (
	items []HistoryItem, oldest int64, err error,
) {
	ctx, cancel := reading(ctx)
	defer cancel()
	records, oldest, err := c.records(ctx, provider, before, n+1) // one more, for the patch of the last
	if err != nil {
		return nil, 0, err
	}
	if len(records) == 0 && before == 0 {
		return nil, 0, unknownProvider(provider)
	}
	select { // patches take processor time that decisions need: they are made a quarter of the time, for one page after the other
	case c.patching <- struct{}{}:
		began := time.Now()
		defer func() { time.AfterFunc(3*time.Since(began), func() { <-c.patching }) }()
	case <-ctx.Done():
		return nil, 0, context.Cause(ctx)
	}
	for i, r := range records[:min(n, len(records))] {
		earlier := Record{}
		if i+1 < len(records) {
			earlier = records[i+1]
		} else if r.Revision > oldest { // it is on the next page
			break
		}
		patch, err := patchOf(earlier, r)
		if err != nil {
			return nil, 0, err
		}
		items = append(items, HistoryItem{r.Revision, r.At.Time(), r.By, r.Note, patch})
		runtime.Gosched() // they go first
	}
	return items, oldest, nil
}

// records reads pieces of a history until it has n records, or two and the bytes of a page. The last is the oldest that is kept
// if there are no more.
func (c *Coordinator) records(ctx context.Context, provider string, before int64, n int) (
	records []Record, oldest int64, err error,
) {
	for size := 0; len(records) < n && (len(records) < 2 || size < PageSize); {
		var piece []Record
		if piece, oldest, err = c.store.History(ctx, provider, before, n-len(records)); err != nil {
			return nil, 0, err
		}
		for _, r := range piece {
			size += r.Size()
		}
		records = append(records, piece...)
		if len(records) == 0 {
			break
		}
		before = records[len(records)-1].Revision
		if before <= oldest || len(piece) == 0 { // it may have been forgotten meanwhile
			return records, before, nil
		}
	}
	return records, oldest, nil
}

// patchOf is what one revision changed of another.
func patchOf(from, to Record) ([]byte, error) {
	switch {
	case to.deleted():
		return []byte("null"), nil
	case from.deleted():
		from.Body = []byte("{}")
	}
	patch, err := jsonpatch.CreateMergePatch(from.Body, to.Body)
	if err != nil {
		return nil, fmt.Errorf("%w: a stored policy can't be read: %w", ErrStoreUnavailable, err)
	}
	return patch, nil
}

// Rollback writes a new revision whose policy is that of an earlier one. Errors are those of PutPolicy, and
// [ErrUnknownRevision] when that revision is not kept, or was a deletion.
func (c *Coordinator) Rollback(ctx context.Context, provider string, revision int64, e Edit) (WrittenPolicy, error) {
	if _, err := c.livePolicy(ctx, provider); err != nil && !errors.Is(err, ErrUnreadable) {
		return WrittenPolicy{}, err
	}
	records, _, err := c.store.History(ctx, provider, revision+1, 1)
	if err != nil {
		return WrittenPolicy{}, err
	}
	if len(records) == 0 || records[0].Revision != revision || records[0].deleted() {
		return WrittenPolicy{}, fmt.Errorf("%w: %d", ErrUnknownRevision, revision)
	}
	p, err := ParsePolicy(records[0].Body)
	if err != nil {
		return WrittenPolicy{}, unreadable(DocID{Provider: provider}, revision, err)
	}
	return c.PutPolicy(ctx, provider, p, e)
}
