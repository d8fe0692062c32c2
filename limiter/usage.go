package limiter

import "context"

// UsageQuery names whose counters to show. Limits whose counter it leaves open (of a key, without one; per model,
// without a model) are left out.
type UsageQuery struct {
	Provider string
	KeyID    string // its own limits, and those of its pool
	Pool     string // the limits of a pool; with KeyID, which then must be in it
	Model    string
}

// Usage shows how the counters stand. It charges nothing. In the LimitStatus of a shadow limit WouldDeny says whether
// one more unit would not fit.
func (c *Coordinator) Usage(ctx context.Context, q UsageQuery) (*Decision, error) {
	if err := q.validate(); err != nil {
		return nil, err
	}
	a := c.attempts.Get().(*attempt)
	a.usage, a.ask = true, &Ask{Provider: q.Provider, KeyID: q.KeyID, Model: q.Model}
	a.charge.Provider, a.charge.KeyID, a.charge.Pool, a.charge.DryRun = q.Provider, q.KeyID, q.Pool, true
	c.run(ctx, []*attempt{a})
	d, err := c.end(a)
	if err != nil {
		return nil, err
	}
	if q.Pool != "" && q.Pool != d.Pool {
		return nil, &InvalidError{[]Fault{{"/pool", "the key is not in this pool; name only one of pool and key_id"}}}
	}
	for i := range d.Limits {
		l := &d.Limits[i]
		l.WouldDeny = l.Mode == Shadow && l.Remaining == 0
	}
	return d, nil
}

func (q *UsageQuery) validate() error {
	var f faults
	if !ValidName(q.Provider) {
		f.add("/provider", "a provider's name must match %s", namePattern)
	}
	if q.KeyID != "" && !ValidKeyID(q.KeyID) {
		f.add("/key_id", "a key id is k_ and the first 32 lower-case hex digits of the key's SHA-256; see permitd key-id")
	}
	if q.Pool != "" && !ValidName(q.Pool) {
		f.add("/pool", "a pool's name must match %s", namePattern)
	}
	f.checkModel(q.Model)
	return f.err()
}
