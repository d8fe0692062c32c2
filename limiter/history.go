package limiter

import (
	"context"
	"errors"
	"fmt"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

// HistoryLength is how many revisions of a policy are kept.
const HistoryLength = 1000

// HistoryItem is one write of a policy.
type HistoryItem struct {
	Revision int64
	At       time.Time
	By, Note string
	Patch    []byte // a JSON merge patch from the revision before; null: the provider was deleted
}

// History is what was written of a policy before a revision (0: all), the newest first, at most n.
func (c *Coordinator) History(ctx context.Context, provider string, before int64, n int) ([]HistoryItem, error) {
	records, err := c.store.History(ctx, provider, before, n+1) // one more, for the patch of the last
	if err != nil {
		return nil, err
	}
	if len(records) == 0 && before == 0 {
		return nil, unknownProvider(provider)
	}
	items := make([]HistoryItem, min(n, len(records)))
	for i := range items {
		r, earlier := records[i], Record{}
		if i+1 < len(records) {
			earlier = records[i+1]
		}
		patch, err := patchOf(earlier, r)
		if err != nil {
			return nil, err
		}
		items[i] = HistoryItem{r.Revision, r.At.Time(), r.By, r.Note, patch}
	}
	return items, nil
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
	records, err := c.store.History(ctx, provider, revision+1, 1)
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
