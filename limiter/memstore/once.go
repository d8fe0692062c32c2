package memstore

import "github.com/permitd/permitd/limiter"

// decideOnce decides a charge unless it was granted before. The lock of the record lasts through the decision, so that of
// two charges at the same time one is granted and the other repeats it.
func (s *Store) decideOnce(c *limiter.Charge, current bool, places []place, held shardSet) {
	id := grantID(c.Provider, c.Once.ID)
	shard := s.grants.shard(s.seed, id)
	shard.Lock()
	defer shard.Unlock()
	now := c.Outcome.Now
	if r := shard.find(id, now); r != nil {
		c.Outcome = limiter.Outcome{Verdict: limiter.Repeated, Now: now, Grant: unpackGrant(r)}
		return
	}
	s.decideNow(c, current, places, held)
	if c.Outcome.Verdict != limiter.Granted || !remembered(c) {
		return
	}
	grant := limiter.Grant{Now: now, Ask: c.Once.Ask, Lines: make([]limiter.GrantLine, len(c.Lines))}
	if c.Hold != nil {
		grant.PermitID = c.PermitID
	}
	for i := range c.Lines {
		grant.Lines[i] = limiter.GrantLine{State: c.Lines[i].State, Fits: c.Lines[i].Fits}
	}
	shard.add(id, now.Later(c.Once.Keep), grantHead(&grant), c.Once.Body, c.Once.Shared, now)
}

// remembered reports whether a charge is remembered if it is granted.
func remembered(c *limiter.Charge) bool { return c.Once != nil && c.Once.Body != nil && !c.DryRun }

// remember has a grant be remembered at least until then.
func (s *Store) remember(provider, once string, until, now limiter.Instant) {
	id := grantID(provider, once)
	shard := s.grants.shard(s.seed, id)
	shard.Lock()
	defer shard.Unlock()
	if r := shard.find(id, now); r != nil {
		r.until = max(r.until, until)
	}
}

func grantID(provider, once string) string { return provider + " " + once }
