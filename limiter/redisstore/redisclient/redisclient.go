// Package redisclient makes go-redis clients for decisions, which are worth nothing when they come late: for a Redis of
// its own, one behind sentinels, and a cluster, all set up alike.
package redisclient

import (
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Mode is how Redis is set up.
type Mode string

// The modes, and the URLs that go with them. Each takes further settings as a query, such as pool_size=50 and
// client_name=permitd; those about retries and timeouts have no effect.
const (
	// Single is one primary: redis://USER:PASSWORD@HOST:PORT/DB, rediss:// for TLS, unix://USER:PASSWORD@/PATH?db=DB.
	Single Mode = "single"
	// Sentinel is a primary that sentinels name: redis://HOST:PORT/DB?master_name=NAME&addr=HOST:PORT&addr=HOST:PORT has the
	// addresses of sentinels. USER:PASSWORD@ before the host is for them; for Redis there are username= and password=.
	Sentinel Mode = "sentinel"
	// Cluster is found by way of any of its nodes: redis://USER:PASSWORD@HOST:PORT?addr=HOST:PORT&addr=HOST:PORT.
	Cluster Mode = "cluster"
)

// Modes are all of them.
var Modes = []Mode{Single, Sentinel, Cluster}

// Config is a Redis. The zero value is none.
type Config struct {
	Mode Mode   // "" is Single
	URL  string // may hold a password, and is in no error
}

// Check says what is wrong with the URL.
func (c Config) Check() error {
	if rawCharacters(c.URL) {
		return &configError{"can't be read as it is meant: " + encode}
	}
	var err error
	switch c.Mode {
	case Single, "":
		_, err = redis.ParseURL(c.URL)
	case Sentinel:
		_, err = c.sentinel()
	case Cluster:
		_, err = c.cluster()
	default:
		return fmt.Errorf("%q is no mode: there are single, sentinel and cluster", c.Mode)
	}
	var own *configError
	if err == nil || errors.As(err, &own) {
		return err
	}
	return c.unreadable()
}

// Connect makes a client that waits for no reply for longer than timeout, and for a connection 5/8 of that. (One takes
// well under a millisecond in one data centre, and a few with TLS.) It waits for nothing itself. The error is that of
// [Config.Check].
func (c Config) Connect(timeout time.Duration) (redis.UniversalClient, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	dialTimeout := timeout * 5 / 8
	switch c.Mode {
	case Sentinel:
		o, err := c.sentinel()
		if err != nil {
			return nil, err
		}
		o.Dialer = dialer(o.TLSConfig, dialTimeout)
		o.MaxRetries, o.DialerRetries = noRetries, dials
		o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = dialTimeout, timeout, timeout, timeout
		o.ContextTimeoutEnabled = false
		return redis.NewFailoverClient(o), nil
	case Cluster:
		o, err := c.cluster()
		if err != nil {
			return nil, err
		}
		o.Dialer = dialer(o.TLSConfig, dialTimeout)
		o.NewClient = func(node *redis.Options) *redis.Client { return redis.NewClient(tuned(node, timeout)) }
		// MOVED and ASK are followed at once, so many times; other errors are not made up for by waiting.
		o.MaxRedirects, o.MinRetryBackoff, o.MaxRetryBackoff = 5, time.Millisecond, 5*time.Millisecond
		// Without this go-redis asks for COMMAND before its first call, which takes more rights and, with a node that does not
		// answer, more time.
		o.DisableRoutingPolicies = true
		return redis.NewClusterClient(o), nil
	}
	o, err := redis.ParseURL(c.URL)
	if err != nil {
		return nil, err
	}
	o.Dialer = dialer(o.TLSConfig, dialTimeout)
	return redis.NewClient(tuned(o, timeout)), nil
}

// sentinel reads the URL of a primary that sentinels name.
func (c Config) sentinel() (*redis.FailoverOptions, error) {
	o, err := redis.ParseFailoverURL(c.URL)
	switch {
	case err != nil:
		return nil, err
	case o.MasterName == "":
		return nil, &configError{"lacks master_name=NAME, what sentinels call the primary"}
	case o.RouteByLatency, o.RouteRandomly, o.ReplicaOnly:
		return nil, &configError{"asks for replicas (route_by_latency, route_randomly, replica_only): limits are kept on the primary, leave that out"}
	}
	return o, nil
}

// cluster reads the URL of a cluster.
func (c Config) cluster() (*redis.ClusterOptions, error) {
	o, err := redis.ParseClusterURL(c.URL)
	switch {
	case err != nil:
		return nil, err
	case o.ReadOnly, o.RouteByLatency, o.RouteRandomly:
		return nil, &configError{"asks for replicas (read_only, route_by_latency, route_randomly): limits are kept on masters, leave that out"}
	}
	return o, nil
}

const (
	// A reply that was lost may stand for a charge that was made: sending again would charge twice. (0 means 3.)
	noRetries = -1
	// Trying again is for the next ask: by default go-redis dials five times with pauses of 100 ms between.
	dials = 1
)

// tuned sets up the client of one server. What a URL says of timeouts is overridden: an ask is answered within them,
// whatever Redis does.
func tuned(o *redis.Options, timeout time.Duration) *redis.Options {
	o.MaxRetries, o.DialerRetries = noRetries, dials
	o.DialTimeout = timeout * 5 / 8
	// Nobody waits for a reply any longer than that. The default is 3 s, for which a lane would be lost.
	o.ReadTimeout, o.WriteTimeout = timeout, timeout
	// What waits for a connection behind others waits in vain.
	o.PoolTimeout = timeout
	// The caller's context is watched by whoever waits, never by the connection: cutting a call off midway would cost
	// the connection and leave its outcome unknown.
	o.ContextTimeoutEnabled = false
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	return o
}

// Name is what to call the Redis in a log: the address of a single one, and of others what their URL has.
func (c Config) Name() string {
	switch c.Mode {
	case Sentinel:
		if o, err := c.sentinel(); err == nil {
			return "sentinel:" + o.MasterName
		}
	case Single, "":
		if o, err := redis.ParseURL(c.URL); err == nil {
			return o.Addr
		}
	}
	return string(c.Mode)
}
