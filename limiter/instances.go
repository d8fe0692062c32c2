package limiter

import (
	"context"
	"crypto/rand"
	"errors"
	mathrand "math/rand/v2"
	"time"
)

// Instance is a process that answers asks.
type Instance struct {
	ID        string           `json:"id"`
	Version   string           `json:"version"`
	StartedAt time.Time        `json:"started_at"`
	Degraded  bool             `json:"degraded"`
	Applied   map[string]int64 `json:"applied"` // provider → the revision that it decides by
}

// InstanceLife is for how long after it was last heard of an instance counts as alive.
const InstanceLife = 10 * time.Second

// heartbeat is how often an instance announces itself, about.
const heartbeat = 2 * time.Second

// Attend has an instance take part until ctx ends: it announces itself, and keeps up with policies that others write, so
// that even where nobody asks it shows what it would decide by. (No decision depends on that.)
func (c *Coordinator) Attend(ctx context.Context, version string) {
	self := Instance{ID: rand.Text()[:12], Version: version, StartedAt: time.Now().UTC().Truncate(time.Millisecond)}
	c.self.Store(&self)
	for {
		if err := c.keepUp(ctx); err != nil && ctx.Err() == nil {
			c.log.Debug("could not keep up with the other instances", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(heartbeat/2 + mathrand.N(heartbeat)):
		}
	}
}

// keepUp takes part once, in so little time that an instance whose store is slow still counts as alive.
func (c *Coordinator) keepUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*heartbeat)
	defer cancel()
	all, err := c.store.Instances(ctx, c.Self())
	if !errors.Is(ctx.Err(), context.Canceled) {
		c.cutOff.Store(err != nil)
	}
	if err != nil {
		c.unseen()
		return err
	}
	c.seen(all)
	c.reachable()
	c.resumeRescues()
	names, err := c.providers(ctx)
	for _, name := range names {
		if _, err := c.livePolicy(ctx, name); err != nil && !errors.Is(err, ErrUnknownProvider) {
			return err
		}
	}
	if err == nil { // what is assumed still, the store does not have
		c.assumed.Range(func(provider, _ any) bool {
			c.isKnown(provider.(string))
			return true
		})
	}
	return err
}

// Self is this instance as it stands, or nil before [Coordinator.Attend].
func (c *Coordinator) Self() *Instance {
	self := c.self.Load()
	if self == nil {
		return nil
	}
	now := *self
	now.Degraded = c.Degraded()
	now.Applied = map[string]int64{}
	c.policies.Range(func(provider, v any) bool {
		now.Applied[provider.(string)] = v.(*policyView).record.Revision
		return true
	})
	return &now
}

// Instances are those that share the store, by id, this one as it stands among them.
func (c *Coordinator) Instances(ctx context.Context) ([]Instance, error) {
	return c.store.Instances(ctx, c.Self())
}
