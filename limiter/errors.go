package limiter

import (
	"errors"
	"fmt"
	"strings"
)

// An error means that no decision could be made; a denial is a [Decision], not an error.
// Each sentinel says who returns it and when; test with [errors.Is].
var (
	// ErrInvalid: an ask, a query or a document breaks a rule. Always an [*InvalidError], which names every fault.
	ErrInvalid = errors.New("invalid")
	// ErrUnknownProvider: no policy is stored under the provider's name.
	ErrUnknownProvider = errors.New("unknown provider")
	// ErrUnknownKey: the key has no entry and the policy says unknown_keys: deny.
	ErrUnknownKey = errors.New("unknown key")
	// ErrUnknownModel: limits of the policy have models, none of them is for the ask's model, and the policy says
	// unknown_models: deny.
	ErrUnknownModel = errors.New("unknown model")
	// ErrKeyDisabled: the entry of the key, or of its pool, is disabled.
	ErrKeyDisabled = errors.New("key disabled")
	// ErrCostExceedsLimit: the cost is more than an enforced limit ever admits at once. Always a [*CostError].
	ErrCostExceedsLimit = errors.New("cost exceeds limit")
	// ErrUnknownPermit: no record of the permit is kept: it never was, it had no hold, or its time is over.
	ErrUnknownPermit = errors.New("unknown permit")
	// ErrPermitClosed: the permit was settled or cancelled, or has expired, so that this can't be done to it any more.
	ErrPermitClosed = errors.New("permit closed")
	// ErrIdempotencyMismatch: something else was asked for under the same idempotency key.
	ErrIdempotencyMismatch = errors.New("idempotency key was used for another ask")
	// ErrUnknownEntry: the key or pool has no entry.
	ErrUnknownEntry = errors.New("unknown entry")
	// ErrUnknownRevision: the revision of a policy is not kept: it never was, it was a deletion, or it is too long ago.
	ErrUnknownRevision = errors.New("unknown revision")
	// ErrConflict: the stored document is no longer the one that a write was made for.
	ErrConflict = errors.New("document changed meanwhile")
	// ErrStoreUnavailable: the store gave no answer that could be used.
	ErrStoreUnavailable = errors.New("store unavailable")
	// ErrUnreadable: a stored document says what this version of permitd does not know, such as a kind of limit that a later
	// one has. Nothing is decided by an older one in its place. Always an [*UnreadableError].
	ErrUnreadable = errors.New("stored document can't be read")
	// ErrOverloaded: a bound on memory or waiters is reached; nothing was charged, try again shortly.
	ErrOverloaded = errors.New("overloaded")
)

// Fault is one broken rule.
type Fault struct {
	Pointer string `json:"pointer"` // RFC 6901, from the root of what was checked; "" is the whole
	Detail  string `json:"detail"`  // what is wrong and what is allowed
}

// InvalidError lists every fault found in one ask, query or document. It unwraps to [ErrInvalid].
type InvalidError struct{ Faults []Fault }

func (e *InvalidError) Error() string {
	parts := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		parts[i] = f.Detail
		if f.Pointer != "" {
			parts[i] = f.Pointer + ": " + f.Detail
		}
	}
	return strings.Join(parts, "; ")
}

func (e *InvalidError) Unwrap() error { return ErrInvalid }

// UnitsError says that an ask names units that no limit of the policy counts, which says unknown_units: deny; or that it names
// none of an enforced limit's that has required: true. It unwraps to an [*InvalidError], which names each.
type UnitsError struct {
	Unknown   []string // units of the ask that no limit of the policy counts, denied or not
	Unweighed []string // limits that apply to the ask, and of which it names no unit, whether they require one or not
	invalid   *InvalidError
}

func (e *UnitsError) Error() string { return e.invalid.Error() }

func (e *UnitsError) Unwrap() error { return e.invalid }

// CostError says which limit could never admit a cost. It unwraps to [ErrCostExceedsLimit].
type CostError struct {
	Limit string // the limit's name
	Unit  string
	Cost  int64 // what the ask would be charged
	Most  int64 // what fits at most: the burst of a rate, the amount of a quota
}

func (e *CostError) Error() string {
	return fmt.Sprintf("limit %q admits at most %d %s at once, the ask costs %d", e.Limit, e.Most, e.Unit, e.Cost)
}

func (e *CostError) Unwrap() error { return ErrCostExceedsLimit }

// ConflictError says what is stored where the condition of a write does not hold. It unwraps to [ErrConflict].
type ConflictError struct {
	Revision int64 // of the document in force; 0 when there is none
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("%v: revision %d is stored", ErrConflict, e.Revision)
}

func (e *ConflictError) Unwrap() error { return ErrConflict }

// UnreadableError says which stored document this version of permitd can't read, and why. It unwraps to [ErrUnreadable]
// alone: that the document breaks a rule is no fault of the ask.
type UnreadableError struct {
	Doc      DocID
	Revision int64
	Cause    Fault // the first rule of this version that it breaks
}

func unreadable(doc DocID, revision int64, err error) error {
	cause := Fault{Detail: err.Error()}
	if invalid := (*InvalidError)(nil); errors.As(err, &invalid) {
		cause = invalid.Faults[0]
	}
	return &UnreadableError{doc, revision, cause}
}

func (e *UnreadableError) Error() string {
	return fmt.Sprintf("%v: %s, revision %d: %s: %s", ErrUnreadable, e.Doc, e.Revision, e.Cause.Pointer, e.Cause.Detail)
}

func (e *UnreadableError) Unwrap() error { return ErrUnreadable }

// faults collects broken rules while something is checked.
type faults []Fault

func (f *faults) add(pointer, format string, args ...any) {
	*f = append(*f, Fault{pointer, fmt.Sprintf(format, args...)})
}

// err is nil when nothing was found.
func (f faults) err() error {
	if len(f) == 0 {
		return nil
	}
	return &InvalidError{Faults: f}
}

// pointer appends a member name to a JSON pointer.
func pointer(base, member string) string {
	return base + "/" + pointerEscapes.Replace(member)
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
