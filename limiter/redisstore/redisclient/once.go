package redisclient

import (
	"context"

	"github.com/redis/go-redis/v9"
)

// Once sends a command that is not sent again when its reply is lost, since it may have run. Its key is the argument at a
// place, counted from the verb.
func Once(ctx context.Context, c redis.UniversalClient, place int, line ...any) *redis.Cmd {
	cmd := onceCmd{redis.NewCmd(ctx, line...)}
	cmd.SetFirstKeyPos(int8(place))
	_ = c.Process(ctx, cmd) // the command keeps the error
	return cmd.Cmd
}

type onceCmd struct{ *redis.Cmd }

// NoRetry tells a cluster client so, which tries again whatever it is told of retries. MOVED and ASK, which come from a
// node that did not run the command, are still followed.
func (onceCmd) NoRetry() bool { return true }
