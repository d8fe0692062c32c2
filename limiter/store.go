package limiter

import (
	"context"
	"time"
)

// Store keeps documents and counters, and decides. Its clock is the only one that counts.
//
// A Store is used by many goroutines at once, and a shared one by many instances. Nothing that is passed to it may be
// kept after the call returns. [github.com/permitd/permitd/limiter/storetest] is the behaviour that any Store must show.
type Store interface {
	// Decide answers each charge, in order and independently, by filling in its Outcome. Each is one atomic step:
	//
	//  1. After NotAfter nothing is charged: Late.
	//     A charge whose Once was granted before is not charged again: Repeated.
	//  2. Unless the documents in the store are those that the charge was resolved under, nothing is charged: Stale.
	//     Once a write of a document has returned, no charge resolved under an earlier one is granted.
	//  3. If a name of [Charge.Names] is one too many, nothing is charged: Crowded. It is not while it is noted, or while
	//     one of its counters in the charge is live.
	//  4. Unless every quota line's Window holds now, nothing is charged: Late.
	//  5. If every enforced line fits, all lines are charged (none in a dry run): Granted. Otherwise none: Denied.
	//
	// Each line's State is filled in when the verdict is Granted or Denied: after the charge if one was made, else as it
	// stands. A verdict of 0 comes with an Err that says why there is none: [ErrStoreUnavailable], [ErrOverloaded], or
	// the context's; then nothing stays charged.
	Decide(ctx context.Context, charges []*Charge)

	// Hold reads the record of a permit.
	Hold(ctx context.Context, provider, permitID string) (Hold, error)

	// CloseHold settles, cancels or extends a hold, as one atomic step: unless it is closed or not kept, it is checked
	// like a charge (Stale, or Late for a window that does not hold now), and then every line's change is applied and
	// noted in the record. A hold is closed once, however often and wherever that is asked for. Extending one that has
	// expired changes nothing.
	CloseHold(ctx context.Context, c *Closing)

	// Load reads one document. One that was never written is the zero Record; one that was deleted has no Body.
	Load(ctx context.Context, id DocID) (Record, error)

	// Swap writes next if the stored record still has the tag prev ("" for none), sets its time, and returns it as Load
	// would. Otherwise it writes nothing and returns the stored record with [ErrConflict]. When Swap returns, no charge
	// resolved under the earlier record is granted any more. A record of which nothing needs to be kept ([Record.Blank]) is
	// forgotten; of policies, every record that is written is kept in the history too, which is bounded: see [HistoryLength].
	Swap(ctx context.Context, id DocID, prev string, next Record) (Record, error)

	// SwapAll is Swap of some entries of one provider at once, all or none of them, and returns the first. With
	// [ErrConflict] none was written.
	SwapAll(ctx context.Context, writes []Write) (Record, error)

	// History reads a piece of the records of a policy that were written before a revision (0: all), the newest first, at
	// most n and about [PieceSize] bytes of them, without tags and tracks. oldest is the revision of the oldest record that
	// is kept, 0 when there is none.
	History(ctx context.Context, provider string, before int64, n int) (records []Record, oldest int64, err error)

	// List reads a piece of the entries of one kind that are after a name, in the order of their names, at most n and about
	// [PieceSize] bytes of them. An empty piece says that there are no more.
	List(ctx context.Context, provider string, kind EntryKind, after string, n int) ([]NamedRecord, error)

	// Clear forgets the entries of a provider that was deleted: those of generations up to a revision.
	Clear(ctx context.Context, provider string, revision int64) error

	// Instances are those that announced themselves in the last [InstanceLife], by id; self, unless it is nil, among them
	// from now on.
	Instances(ctx context.Context, self *Instance) ([]Instance, error)

	// Patience is how long answering an ask, or closing a hold, may take, all calls of the store together. Of more than 128
	// asks at once it is so much for each 128, up to 8 times. 0: as long as it takes, for a store that never waits.
	Patience() time.Duration

	// Providers returns the names of all providers that have a policy, or had one, sorted.
	Providers(ctx context.Context) ([]string, error)
}

// Write is a record that takes the place of one with the tag Prev.
type Write struct {
	ID   DocID
	Prev string
	Next Record
}

// NamedRecord is an entry and its name.
type NamedRecord struct {
	Name string
	Record
}

// Verdict is what a store made of a charge.
type Verdict uint8

// The verdicts.
const (
	Granted Verdict = iota + 1
	Denied
	Stale    // resolved under documents that are no longer current; resolve it again
	Late     // its time was wrong: Outcome.Now says what the time is; ask again
	Repeated // granted before, as Outcome.Grant says
	Crowded  // there are too many names of the kinds of Outcome.Crowd; resolve it again, with theirs counted as [Other]
)

// Charge is an ask resolved to the counters it has to fit: what a [Store] decides.
type Charge struct {
	Provider string
	KeyID    string
	Pool     string // the named pool of the key, or ""
	Stamps   Stamps // what it was resolved under
	PermitID string // chosen by the instance, unique
	NotAfter Instant
	DryRun   bool
	Lines    []Line   // none: only the stamps are checked
	Names    []Name   // that a client chose, and that the store may not have noted
	Hold     *NewHold // keep a record under PermitID if it is granted; a charge that takes slots has one
	Once     *Once    // grant it once; nil: as often as it is asked for

	Outcome Outcome
}

// Stamps are the tags of the documents that a charge was resolved under; "" where there is none.
type Stamps struct{ Policy, Key, Pool string }

// Line is one counter that a charge has to fit.
type Line struct {
	Terms   *Terms
	Subject string // whose counter: "" for the provider, a key id, or "p/" and the name of a pool
	Model   string // where each model has a counter of its own
	Cost    int64
	Free    bool   // a cost of 0 fits whatever the counter holds; otherwise it fits only while one unit would
	Window  Window // of a quota: the one that holds the store's time as far as known
	// Unweighed says that the ask names no unit of the limit, and so costs what an ask does by default. No matter to a store.
	Unweighed bool

	State State // filled in by the store; of its slots, those that have expired are not counted
	Fits  bool  // filled in by the store: the cost fits, or would have
}

// Needs returns how many units have to fit for the line to be granted: its cost, or, where that is 0, one unit unless
// the line is Free. So a counter that was taken past its limit by settling denies also those who reserve nothing.
func (l *Line) Needs() int64 {
	if l.Cost == 0 && !l.Free {
		return 1
	}
	return l.Cost
}

// takesSlots reports whether the line is one of concurrency that costs anything.
func (l Line) takesSlots() bool { return l.Terms.Limit.Kind == KindConcurrency && l.Cost > 0 }

// Outcome is a store's answer to a charge.
type Outcome struct {
	Verdict Verdict
	Now     Instant // the store's time of the decision
	Err     error
	Current Current // when Stale
	Expires Instant // of the hold, when one was made
	Grant   *Grant  // when Repeated
	Crowd   Crowd   // when Crowded
}

// Current are the documents as they stand, of those whose stamp was not current; nil for the others.
type Current struct{ Policy, Key, Pool *Record }

// poolSubject is the subject of a named pool. A key that is in no pool is its own, under its key id.
func poolSubject(pool string) string { return "p/" + pool }
