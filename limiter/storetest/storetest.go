// Package storetest is the behaviour that every [limiter.Store] must show, as one suite:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Backend{Open: open, OpenVirtual: openVirtual})
//	}
//
// Tests with exact figures run on a virtual clock; those about concurrency run on the store's own.
package storetest

import (
	"context"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// Backend makes stores for tests. Each store is empty, and cleaned up by the test's Cleanup.
type Backend struct {
	// Open makes a store that runs on its own clock.
	Open func(t testing.TB) limiter.Store
	// OpenVirtual makes a store whose clock shows what set was last called with.
	OpenVirtual func(t testing.TB) (store limiter.Store, set func(limiter.Instant))
}

// Run runs the whole suite.
func Run(t *testing.T, b Backend) {
	for name, test := range map[string]func(*testing.T, Backend){
		"a denied permit charges nothing":                     testAllOrNothing,
		"a dry run charges nothing":                           testDryRun,
		"who reserves nothing":                                testReservesNothing,
		"who reserves nothing, elsewhere":                     testReservesNothingElsewhere,
		"who reserves nothing, without the store":             testReservesNothingAlone,
		"a denial after settling":                             testDenialAfterSettling,
		"a hold of no slots needs a free one":                 testFreeSlotNeeded,
		"a window far ahead":                                  testFarWindow,
		"providers are apart":                                 testProvidersApart,
		"a write to a provider created anew":                  testLateEntry,
		"a cost of 0 is neither checked nor charged":          testCostZero,
		"rate timetable":                                      testRateTimetable,
		"quota timetable":                                     testQuotaTimetable,
		"strict window timetable":                             testStrictTimetable,
		"a shadow limit never denies":                         testShadow,
		"counters are apart by subject and model":             testSubjects,
		"an ask that came too late charges nothing":           testNotAfter,
		"a window that is not now charges nothing":            testWrongWindow,
		"stale stamps bring what is current":                  testStale,
		"swap":                                                testSwap,
		"usage survives edits":                                testEdits,
		"each stretch drains at its own rate":                 testDrainPerStretch,
		"a slowed limit keeps what is owed":                   testSlowedLimit,
		"reset forgets usage":                                 testReset,
		"reset of keys, pools and models":                     testResetSubjects,
		"a closed limit comes back":                           testSettleWhileGone,
		"a hold of a deleted meaning":                         testSettleAfresh,
		"an extended hold is remembered longer":               testOnceExtended,
		"merge patches":                                       testPatch,
		"patches at the same time":                            testConcurrentPatches,
		"history and rollback":                                testHistory,
		"a history has so many bytes":                         testHistorySize,
		"what is large is read in pieces":                     testPieces,
		"a policy has so many bytes":                          testPolicySize,
		"a deleted provider":                                  testDeletedProvider,
		"entries that a deletion left":                        testLeftEntries,
		"entries are listed and deleted":                      testEntries,
		"keys are rotated":                                    testRotate,
		"a key is rotated often":                              testRotateOften,
		"a key is rotated by many at a time":                  testRotateTogether,
		"units that no longer count":                          testOtherUnits,
		"what was reset stays so":                             testResetKept,
		"resets and windows of a rotated key":                 testRotatedNumbering,
		"the time of an old key":                              testRotatedClock,
		"a replay names the key":                              testReplayNamesTheKey,
		"a reset is on record":                                testResetOnRecord,
		"preview":                                             testPreview,
		"instances":                                           testInstances,
		"overrides of key and pool":                           testOverrides,
		"a changed meaning starts afresh":                     testRestart,
		"settling replaces the reserved cost":                 testSettle,
		"settling beyond the limit":                           testSettleBeyond,
		"cancelling refunds what has not drained":             testCancelHold,
		"a quota is refunded within its window":               testCancelAcrossWindows,
		"a hold has its time":                                 testHoldTimes,
		"a hold is settled after edits":                       testSettleAfterEdits,
		"units are reserved and settled apart":                testSettleUnits,
		"a limit's own unit":                                  testOwnUnit,
		"units of a settlement that nothing counts":           testIgnoredUnits,
		"such units of a hold of an outage":                   testIgnoredUnitsOfAnOutage,
		"what the policy does not know is refused":            testStrict,
		"a hold is closed once":                               testCloseOnce,
		"holds against a model":                               testHoldsAgainstModel,
		"granted once":                                        testOnce,
		"denials are not remembered":                          testOnceLeavesDenialsAlone,
		"granted once to many at a time":                      testOnceTogether,
		"slots":                                               testSlots,
		"slots and other limits, all or nothing":              testSlotsAllOrNothing,
		"slots through edits":                                 testSlotsThroughEdits,
		"no more in flight than there are slots":              testSlotsInFlight,
		"slots against a model":                               testSlotsAgainstModel,
		"a cancelled context charges nothing":                 testCancelled,
		"all or nothing under concurrency":                    testConcurrentAllOrNothing,
		"the bound holds in every interval":                   testBound,
		"no grant under an old revision":                      testNoOldRevision,
		"writers never lose each other's edits":               testConcurrentSwap,
		"shares of an outage":                                 testShares,
		"deny, allow and share":                               testFailures,
		"entries count through an outage":                     testKnownEntries,
		"holds of an outage":                                  testHoldsOfAnOutage,
		"granted once through an outage":                      testOnceThroughAnOutage,
		"outages come and go":                                 testOutagesComeAndGo,
		"an instance that leaves after an outage":             testLeave,
		"a store that was emptied":                            testEmptied,
		"a store that was emptied and written":                testEmptiedAndWritten,
		"a store that was rolled back":                        testRolledBack,
		"a start without the store":                           testAssumed,
		"a store that comes and goes":                         testFlapping,
		"holds of an outage that have drained":                testDrainedHolds,
		"a hold of an outage is closed once elsewhere":        testClosedElsewhere,
		"a hold of an outage is extended elsewhere":           testExtendedElsewhere,
		"a start without the store, which is empty":           testAssumedThenEmpty,
		"a key that was not seen before an outage":            testUnseenKey,
		"the newest of what is known of an entry is put back": testOlderEntry,
		"the newest of what is known of a policy is put back": testOlderPolicy,
		"what was tuned is put back over a file":              testSeededEntry,
		"overrides that no longer fit":                        testMisfits,
		"a policy of another version":                         testUnreadablePolicy,
		"an entry of another version":                         testUnreadableEntry,
		"keys beyond the bound are counted together":          testUnknownKeys,
		"models beyond the bound are counted together":        testModels,
		"models of unknown keys":                              testModelsOfUnknownKeys,
		"names are forgotten":                                 testNamesAreForgotten,
		"names without counters":                              testNamesWithoutCounters,
		"holds of those counted together":                     testHoldsOfOthers,
		"names of holds that cost nothing yet":                testNamesOfHolds,
		"those counted together go by the policy":             testOthersGoByThePolicy,
		"no model is called _other":                           testOtherIsNoModel,
		"a flood of keys":                                     testNamesFlood,
		"names that were chosen to meet":                      testNamesChosenToMeet,
		"names through an outage":                             testNamesThroughAnOutage,
		"an entry that is created again":                      testCreatedAgain,
		"kinds that change in an outage":                      testKindsThroughAnOutage,
		"a hold that is handed over again":                    testHandedOverAgain,
		"slots of outages that follow one another":            testSlotsOfOutages,
		"slots of an outage come back":                        testSlotsComeBack,
		"slots of outages of several instances":               testSlotsOfMany,
	} {
		t.Run(name, func(t *testing.T) { test(t, b) })
	}
}

// start is when virtual clocks begin: a Monday at 09:00 UTC.
var start = limiter.InstantOf(time.Date(2026, 11, 23, 9, 0, 0, 0, time.UTC))

// bench is a coordinator over a store on a virtual clock.
type bench struct {
	*testing.T
	*limiter.Coordinator
	store limiter.Store
	set   func(limiter.Instant)
	now   limiter.Instant
}

const provider = "openai"

// newBench stores a policy, given as the limits of its document.
func newBench(t *testing.T, b Backend, limits string) *bench {
	t.Helper()
	store, set := b.OpenVirtual(t)
	n := &bench{T: t, Coordinator: limiter.New(store), store: store, set: set}
	n.at(0)
	n.put(limits)
	n.twin(limits)
	return n
}

// twin stores the same policy for another provider and charges the key "sk-1" there, so that a store in which providers
// share counters fails each test that looks at figures.
func (n *bench) twin(limits string) {
	n.Helper()
	const other = "twin"
	ctx := context.Background()
	if _, err := n.PutPolicy(ctx, other, policy(n, limits), limiter.Edit{}); err != nil {
		n.Fatal(err)
	}
	if d, err := n.Acquire(ctx, limiter.Ask{Provider: other, Key: "sk-1", Model: "m1", Hold: true}); err != nil || !d.Allowed {
		n.Fatalf("the twin: %+v, %v", d, err)
	}
}

// at sets the clock to so long after start.
func (n *bench) at(d time.Duration) {
	n.now = start + limiter.Instant(d/time.Microsecond)
	n.set(n.now)
}

func (n *bench) put(limits string) (restarted []string) {
	n.Helper()
	w, err := n.PutPolicy(context.Background(), provider, policy(n, limits), limiter.Edit{})
	if err != nil {
		n.Fatal(err)
	}
	return w.Restarted
}

func policy(t testing.TB, limits string) *limiter.Policy {
	t.Helper()
	p, err := limiter.ParsePolicy([]byte(`{"hold_ttl":"2h","limits":{` + limits + `}}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ask asks for a permit of the key "sk-1" that costs so many requests.
func (n *bench) ask(cost int64) *limiter.Decision {
	n.Helper()
	return n.askFor(limiter.Ask{Key: "sk-1", Cost: limiter.Costs{{Unit: "requests", Amount: cost}}})
}

func (n *bench) askFor(a limiter.Ask) *limiter.Decision {
	n.Helper()
	a.Provider = provider
	d, err := n.Acquire(context.Background(), a)
	if err != nil {
		n.Fatal(err)
	}
	return d
}

// grant asks and expects a permit, deny a denial with the given wait.
func (n *bench) grant(cost int64) {
	n.Helper()
	if d := n.ask(cost); !d.Allowed {
		n.Fatalf("at %s a cost of %d was denied: %+v", n.now.Time(), cost, d.Limits)
	}
}

func (n *bench) deny(cost int64, wait time.Duration) {
	n.Helper()
	d := n.ask(cost)
	if d.Allowed {
		n.Fatalf("at %s a cost of %d was granted: %+v", n.now.Time(), cost, d.Limits)
	}
	if d.RetryAfter != wait {
		n.Fatalf("at %s retry after %s, want %s", n.now.Time(), d.RetryAfter, wait)
	}
}

// remaining expects what a limit has left for the key "sk-1".
func (n *bench) remaining(limit string, want int64) {
	n.Helper()
	if got := n.usage(limiter.UsageQuery{KeyID: limiter.KeyID("sk-1")}, limit).Remaining; got != want {
		n.Fatalf("at %s limit %s has %d remaining, want %d", n.now.Time(), limit, got, want)
	}
}

func (n *bench) usage(q limiter.UsageQuery, limit string) limiter.LimitStatus {
	n.Helper()
	q.Provider = provider
	u, err := n.Usage(context.Background(), q)
	if err != nil {
		n.Fatal(err)
	}
	for _, l := range u.Limits {
		if l.Name == limit {
			return l
		}
	}
	n.Fatalf("usage shows no limit %s: %+v", limit, u.Limits)
	return limiter.LimitStatus{}
}
