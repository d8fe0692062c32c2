package redisstore

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

// calm is for how long a slot that is handed from one node to another is left alone.
const calm = 5 * time.Millisecond

// send has the node of a key, which is the argument at a place, counted from the verb, run a command at most once, unless
// it is down. While its slot is handed from one node to another, that may take as long as a decision.
func (s *Store) send(ctx context.Context, l *link, place int, line ...any) (result any, err error) {
	key, _ := line[place].(string)
	for begin := time.Now(); ; {
		way := (*node).beside
		if l == s.client {
			way = (*node).do
		}
		result, err = way(s.nodes.of(ctx, key), ctx, key, func() (any, error) { return process(ctx, l, place, line) })
		if !answered(err, tryAgain) || time.Since(begin)+calm > s.timeout {
			return result, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(calm):
		}
	}
}

// process sends a command once.
func process(ctx context.Context, c redis.UniversalClient, place int, line []any) (any, error) {
	return redisclient.Once(ctx, c, place, line...).Result()
}

// probe writes something about a key to its node, as charges do: one that is full, loading or a replica refuses it.
func (s *Store) probe(ctx context.Context, key string) (any, error) {
	return process(ctx, s.side, 1, []any{"set", s.keys.probe(key), 1, "px", probeLife.Milliseconds()})
}

// refusals are what Redis answers instead of running a script.
var refusals = []string{"NOSCRIPT", "OOM", "READONLY", "BUSY", "LOADING", "MASTERDOWN", "NOREPLICAS", "MISCONF", "NOAUTH", "WRONGPASS",
	"CLUSTERDOWN", "MOVED", "ASK", tryAgain, "CROSSSLOT", "NOPERM"}

// tryAgain is what a node says that has some of the keys of a call, while others are with the node that it hands them to.
const tryAgain = "TRYAGAIN"

// outages are what a Redis answers that is of no use to anybody. One that is full is: it still answers reads, and takes
// charges back.
var outages = []string{"LOADING", "READONLY", "MASTERDOWN", "CLUSTERDOWN", "BUSY", "NOAUTH", "WRONGPASS", "ERR max number of clients"}

// isReply reports whether an error is an answer of Redis. (That sentinels don't know the primary is not, and wraps one.)
func isReply(err error) bool {
	_, ok := err.(redis.Error)
	return ok
}

// answered reports whether an error is an answer of Redis that begins in one of these ways.
func answered(err error, with ...string) bool {
	return isReply(err) && slices.ContainsFunc(with, func(prefix string) bool { return redis.HasErrorPrefix(err, prefix) })
}

// sentNothing reports whether a call ended with an error before anything was sent.
func sentNothing(err error) bool {
	return redisclient.NoConnection(err) || errors.Is(err, errDown) || errors.Is(err, redis.ErrPoolTimeout) ||
		errors.Is(err, redis.ErrPoolExhausted) || errors.Is(err, redis.ErrClosed) || errors.Is(err, context.Canceled)
}

// mayHaveRun reports whether a call that ended with an error may have charged something: not when no connection was had,
// nor when Redis refused to run the script.
func mayHaveRun(err error) bool {
	return !sentNothing(err) && !errors.Is(err, errGone) && !answered(err, refusals...)
}

// scriptFailed reports whether a script ended with an error that comes of what it was sent, or of what it found: it then has
// charged nothing, since all that may fail in it comes before its first write. A user without a right it needs is no such case.
func scriptFailed(err error) bool {
	return isReply(err) && mayHaveRun(err) && !isOutage(err) && !strings.Contains(err.Error(), "ACL failure")
}

// isOutage reports whether an error says that a node is of no use at the moment.
func isOutage(err error) bool {
	switch {
	case err == nil, isOurs(err):
		return false
	case isReply(err):
		return answered(err, outages...)
	}
	return true // no connection, no reply in time, or half of one
}

// isOurs reports whether an error says nothing about Redis.
func isOurs(err error) bool {
	return sentNothing(err) && !redisclient.NoConnection(err)
}
