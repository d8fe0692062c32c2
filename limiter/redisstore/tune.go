package redisstore

import (
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// tune sets a client up for decisions, which are worth nothing when they come late. What a URL says of the timeouts is
// overridden: an ask is answered within them, whatever Redis does.
func tune(o *redis.Options, timeout time.Duration) {
	// A reply that was lost may stand for a charge that was made: sending again would charge twice. (0 means 3.)
	o.MaxRetries = -1
	// A connection takes well under a millisecond in one data centre. Trying again is for the next ask; by default
	// go-redis dials five times with pauses of 100 ms between.
	o.DialTimeout = min(timeout, 50*time.Millisecond)
	o.DialerRetries = 1
	// Nobody waits for a reply any longer than that. The default is 3 s, for which a lane would be lost.
	o.ReadTimeout, o.WriteTimeout = timeout, timeout
	// A lane is one connection; what waits for one behind others waits in vain.
	o.PoolTimeout = timeout
	// The caller's context is watched by whoever waits, never by the connection: cutting a call off midway would cost
	// the connection and leave its outcome unknown.
	o.ContextTimeoutEnabled = false
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
}
