// Package redisstore keeps counters and documents in Redis, so that any number of instances share them.
//
// # Who decides
//
// Redis does. Each decision over all limits of an ask is a step of one Lua script, which reads the time once, checks that
// the ask was resolved under the documents that are in force, and charges all counters or none. Instances only propose:
// their clocks, caches and ideas of what the policy says are checked by the script before anything is charged.
//
// # Batching
//
// Asks for one provider queue up, and a few lanes take them to Redis: each lane sends what is queued as one script call,
// waits for the reply, and takes what has queued up since. There are no timers: a lone ask goes at once, and under load
// calls grow by themselves. All keys of a provider share a hash tag, so a call touches one slot of a cluster.
//
// # When a reply is lost
//
// A caller waits at most [Options.Timeout], and is released at once when its context ends. What happens to a charge whose
// caller is gone is then the lane's business: a call that charges leaves in Redis, under the lane's key, its number and
// what it answered. The lane sends nothing more until it has had that call undone: an undo takes back what the record
// says was charged to callers that are gone, or, where the call has not come to Redis yet, leaves a mark by which the
// call will find that it was given up. Calls of a lane are numbered upwards, so that one that was delayed on the way never
// takes effect after its undo. No charge is ever sent twice: scripts are sent as commands that go-redis does not retry.
// (Writes of documents and closings of holds are: they know their own from the first time.)
//
// An undo refunds what has not drained, and takes back slots, holds and what is remembered of grants, unless somebody was
// told of the grant since. Where a document that an ask was resolved under was edited between the charge and its undo,
// what it was charged to rates stays: at which speed that drained is not known then, and too much charged is the safe side.
//
// # When Redis does not answer
//
// Every call goes by way of the node that has its keys: the only one, or a master of a cluster. A few decisions in a row that
// fail and the node is down: all that waits for it, and whatever comes later, is refused at once. One goroutine probes it until
// it answers, or until another has its keys; only then do lanes have undone what they do not know the outcome of, and
// take on what has been asked for since. Refusals that Redis answers at once, such as that it is full, are no reason.
//
// # Reads beside decisions
//
// Holds, documents, and reads of histories and lists have connections of their own, and so many places for each provider: none
// waits behind what takes longer. Histories, lists and instances are read in pieces of [limiter.PieceSize], so that Redis, which
// does one thing at a time, is soon free for a decision. How these calls end says nothing about the node, since they may take
// seconds. But where one fails, or takes longer than a decision may, the node is probed, and the probe tells.
//
// # What is stored
//
// With the default prefix, all under the hash tag of the provider:
//
//	permitd:1:{p}:policy        the policy: tag, time, record as JSON, document; each on a line
//	permitd:1:{p}:history       what was written of the policy, a list: the bytes of all up to it, time, record, document
//	permitd:1:{p}:key:K         the entry of a key; likewise pool:P
//	permitd:1:{p}:c:C:S:M       a counter: limit C, subject S, model M; 50 bytes and refunds, or 21 bytes for a quota
//	permitd:1:{p}:s:C:S:M       beside a counter of concurrency: its slots, a sorted set by when they expire
//	permitd:1:{p}:h:R           a hold, by the random part of its permit id
//	permitd:1:{p}:i:D           a grant that is made once, by a digest of caller and idempotency key
//	permitd:1:{p}:nK:E          how many names of kind K clients chose in the period that ends at E, after a random seed
//	permitd:1:{p}:nK:E:N        part N of these names, a set of numbers
//	permitd:1:{p}:probe         what a probe wrote, for a second
//	permitd:1:{p}:lane:I:N      what the last call of a lane of an instance did, for a day
//	permitd:1:providers         the names of all providers
//
// Counters expire one to two days after they would have drained, quotas with their window; holds when they can no longer be
// settled, and slots after more than a hold may last.
package redisstore
