// Package limiter decides whether a call to a rate-limited provider may be made now.
//
// # The model
//
// A [Policy] holds the limits of one provider. A [Limit] counts one unit (requests, tokens) for a scope: everything sent
// to the provider, one pool (an account there), or one API key; and in one way: a rate (so many per duration), a quota
// (so many per calendar window), or concurrency (so many slots at a time). An [Entry] gives a key its pool, and a key or
// pool its own figures.
//
// An [Ask] names a provider, a key, a model and what the call will cost. The [Coordinator] works out which limits apply
// and has a [Store] decide over all of them in one atomic step. The [Decision] says whether the permit is granted, and
// how each limit stands. A denial is a result; an error means that no decision could be made.
//
// # Counting
//
// A rate is GCRA in its continuous-state form, a leaky bucket. Its counter holds the units in debt, which drain at
// amount per duration; a cost fits while debt + cost ≤ burst. With 10 a minute and a burst of 10, ten may go at once,
// then one every 6 s. The arithmetic is exact in integers for every amount and duration that a policy may name. Counters
// hold units and not time, so that an edit takes nothing back: see [Schedule].
//
// A quota counts the units charged in the calendar window that holds now; see [Calendar].
//
// # Holds
//
// What a call costs is often known only when it is over. An ask with Hold reserves what it names; [Coordinator.Settle] puts
// the actual cost in its place, [Coordinator.Cancel] takes the charge back, [Coordinator.ExtendHold] gives it more time. Only
// what has not drained is refunded, first in first out: see [Terms.Refund]. Slots of concurrency are held by such permits,
// and free when the permit is closed or expires. Who may not hear an answer asks with an IdempotencyKey, and asks again.
//
// # What is guaranteed
//
//   - A permit is charged to all of its enforced limits or to none, and a denied one to none.
//   - Between any two moments, at most burst + amount·w/per of a rate is granted, and at most amount in a window of a
//     quota, on the store's clock. Other clocks need not be right.
//   - Once the write of a document has returned, nothing is granted under the one before.
//   - Settling and cancelling take effect once, and so does an ask with an idempotency key.
//   - What is used stays used through edits of amount, per and burst; a raise is felt at once. The time before an edit
//     drains at the old rate, the time after it at the new one.
//
// # Without the store
//
// A coordinator with a [StandIn] decides by itself while the store gives no answer, as [OnStoreFailure] says, with its part of each
// limit. What it granted is charged to the store before that decides again. Documents that the store turns out to have lost are
// put back.
//
// What is kept in memory is bounded in bytes by a [Memory], which stores and coordinators of a process share.
//
// # What is not
//
// A permit is granted before the call reaches the provider. Calls that were permitted apart may arrive together, so a
// provider that counts as permitd does still sees more at once than the burst, by what drains in the time that calls
// spread over. Keep the burst below the provider's by that much, or use strict_window with slack.
//
// # Reading on
//
// The arithmetic is in rate.go and calendar.go, what it means for a limit in terms.go; a document's way to terms in
// policy.go, entry.go, record.go and view.go; an ask's way through them in resolve.go and coordinator.go, a hold's in hold.go
// and settle.go, once.go for what is granted once; what is stored of them in reservation.go and grantbody.go. What is done
// without the store is in outage.go, share.go and journal.go, and its way back in debts.go, debt.go, note.go, errand.go and
// putback.go. The contract for stores is store.go, with package memstore the plainest example.
package limiter
