package limiter

// TEMPORARY: the signatures that the real implementation will have. Do not edit; it will be replaced on merge.

import (
	"context"
	"time"
)

// Edit is who writes a document and why, and the condition under which. The zero Edit has none.
type Edit struct {
	Tag    string // only if the document has this tag
	Absent bool   // only if there is no document
	By     string // the name of the token; goes into the history
	Note   string // goes into the history
}

// ConflictError: the condition of an Edit does not hold. It unwraps to ErrConflict.
type ConflictError struct{ Revision int64 } // of the document in force, 0 when there is none

func (e *ConflictError) Error() string { return ErrConflict.Error() }
func (e *ConflictError) Unwrap() error { return ErrConflict }

var (
	ErrUnknownEntry    error // 404 not-found: the key or pool has no entry
	ErrUnknownRevision error // 404 not-found: the revision is not kept (any more)
)

// WrittenPolicy is a policy as it was written.
type WrittenPolicy struct {
	PolicyDoc          // Provider, Revision, Tag, Policy (Policy.Body() is the document as written)
	Created   bool     // there was none
	Restarted []string // limits whose counters start afresh
}

// StoredEntry is a stored entry.
type StoredEntry struct {
	Name      string // key id or name of the pool
	Revision  int64
	Tag       string
	Entry     *Entry    // Entry.Body() is the document as written
	Created   bool      // by the write that returned it
	RotatedTo string    // of a key that was rotated: the id of the key that took its place, whose entry this is
	ExpiresAt time.Time // of a key that was rotated: from then on it is disabled
}

// HistoryItem is one write of a policy.
type HistoryItem struct {
	Revision int64
	At       time.Time
	By, Note string
	Patch    []byte // a JSON merge patch from the revision before
}

// Instance is one running permitd.
type Instance struct {
	ID, Version string
	StartedAt   time.Time
	Degraded    bool
	Applied     map[string]int64 // provider → revision
}

// PutPolicy2 stands for PutPolicy with its new signature (it will be named PutPolicy; call it PutPolicy2 until merged).
func (c *Coordinator) PutPolicy2(ctx context.Context, provider string, p *Policy, e Edit) (WrittenPolicy, error) {
	panic("stub")
}

// PatchPolicy applies a JSON merge patch (RFC 7396) to the policy in force. The result is checked as a whole.
func (c *Coordinator) PatchPolicy(ctx context.Context, provider string, patch []byte, e Edit) (WrittenPolicy, error) {
	panic("stub")
}

// DeletePolicy: ErrUnknownProvider when there is none.
func (c *Coordinator) DeletePolicy(ctx context.Context, provider string, e Edit) error { panic("stub") }

// History is newest first, of revisions below before (0: from the newest), at most n.
func (c *Coordinator) History(ctx context.Context, provider string, before int64, n int) ([]HistoryItem, error) {
	panic("stub")
}

// Rollback makes a new revision whose policy is that of an earlier one.
func (c *Coordinator) Rollback(ctx context.Context, provider string, revision int64, e Edit) (WrittenPolicy, error) {
	panic("stub")
}

// Preview decides asks as if p were the policy, by the usage as it is. It stores and charges nothing.
func (c *Coordinator) Preview(ctx context.Context, provider string, p *Policy, asks []Ask) ([]Result, error) {
	panic("stub")
}

func (c *Coordinator) Entry(ctx context.Context, id DocID) (StoredEntry, error) { panic("stub") }

// Entries are those after a name, by name, at most n.
func (c *Coordinator) Entries(ctx context.Context, provider string, kind EntryKind, after string, n int) ([]StoredEntry, error) {
	panic("stub")
}

// PutEntry2 stands for PutEntry with its new signature (it will be named PutEntry).
func (c *Coordinator) PutEntry2(ctx context.Context, id DocID, doc []byte, e Edit) (StoredEntry, error) {
	panic("stub")
}
func (c *Coordinator) PatchEntry(ctx context.Context, id DocID, patch []byte, e Edit) (StoredEntry, error) {
	panic("stub")
}
func (c *Coordinator) DeleteEntry(ctx context.Context, id DocID, e Edit) error { panic("stub") }

// RotateKey gives the entry and the usage of a key to another, keeps both working for a while, and disables the old one
// after that. It returns the entry under its new name.
func (c *Coordinator) RotateKey(ctx context.Context, provider, from, to string, keep time.Duration, e Edit) (StoredEntry, error) {
	panic("stub")
}

// Reset2 stands for Reset with its new signature (it will be named Reset).
func (c *Coordinator) Reset2(ctx context.Context, q ResetQuery, e Edit) (limits []string, revision int64, err error) {
	panic("stub")
}

// Instances are those that share the store.
func (c *Coordinator) Instances(ctx context.Context) ([]Instance, error) { panic("stub") }
