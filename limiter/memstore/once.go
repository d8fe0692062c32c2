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
		grant := r.value
		c.Outcome = limiter.Outcome{Verdict: limiter.Repeated, Now: now, Grant: &grant}
		return
	}
	s.decideNow(c, current, places, held)
	if c.Outcome.Verdict != limiter.Granted || c.DryRun || c.Once.Body == nil {
		return
	}
	grant := limiter.Grant{Now: now, PermitID: c.PermitID, Ask: c.Once.Ask, Body: c.Once.Body}
	for i := range c.Lines {
		grant.Lines = append(grant.Lines, limiter.GrantLine{State: c.Lines[i].State, Fits: c.Lines[i].Fits})
	}
	s.count.Add(1 - shard.add(&record[limiter.Grant]{id: id, until: now.Later(c.Once.Keep), value: grant}, now))
}

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
