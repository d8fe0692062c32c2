package limiter

import "log/slog"

// Option is a setting of a [Coordinator].
type Option func(*Coordinator)

// StandIn has asks decided without the store while it gives no answer, as each policy says: make is called for a store with
// the clock it is given, one for each provider and outage, such as package memstore's. If it has a method Discard, that is
// called when it is no longer used. Without StandIn such asks are [ErrStoreUnavailable], whatever the policy says.
func StandIn(make func(clock func() Instant) Store) Option {
	return func(c *Coordinator) { c.makeStandIn = make }
}

// Within bounds what is kept in memory until a store answers again. Give it the Memory of the stores that stand in, so that all
// of it together is bounded. Default: [DefaultMemory], shared with nobody.
func Within(m *Memory) Option {
	return func(c *Coordinator) { c.memory = m }
}

// Memory returns the bound that a coordinator keeps within.
func (c *Coordinator) Memory() *Memory { return c.memory }

// MinInstances is the least number of instances that [FailShare] divides limits by, from 1, the default, to 10,000.
func MinInstances(n int) Option {
	return func(c *Coordinator) { c.minInstances = min(max(1, int64(n)), MaxInstances) }
}

// MaxInstances keeps the rates that are dealt out exact.
const MaxInstances = 10_000

// Log is where outages and documents that the store had lost are reported. Default: nowhere.
func Log(log *slog.Logger) Option {
	return func(c *Coordinator) { c.log = log }
}
