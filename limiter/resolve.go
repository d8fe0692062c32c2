package limiter

import "slices"

// attempt is one ask on its way through the store.
type attempt struct {
	ask     *Ask
	charge  Charge
	policy  *policyView
	key     *entryView
	pool    *entryView
	ignored []string
	refusal error // why the ask can't be granted whatever the counters say; holds once the store confirms the stamps
	now     Instant
	until   Instant // when the time of a key that was rotated is over
	usage   bool    // show the counters of all limits that can be named, charge nothing
	crowd   Crowd   // kinds of names of which there are too many for the ask's to be counted apart
	model   string  // that limits count apart

	decision *Decision
	err      error
}

// known is what an instance believes the documents to be.
type known struct {
	policy   *policyView
	key      *entryView // nil: no entry
	pool     *entryView // of a key that is in no pool, the key's own
	keyID    string     // whose entry key is, and whose counters are its; "" where no key is named
	poolName string     // "" for none
	until    Instant    // when the key's time is over, if it was rotated
}

// known is what is known of a provider, and of a key there, or, without one, of a pool ("" for none).
func (c *Coordinator) known(provider string, policy *policyView, keyID, pool string) known {
	k := known{policy: policy, keyID: keyID, poolName: pool, until: forever}
	if keyID != "" {
		k.poolName = ""
		k.key = c.entry(provider, policy, KeyEntry, keyID)
		if k.key != nil && k.key.record.Root != "" {
			k.keyID = k.key.record.Root
			k.key = c.entry(provider, policy, KeyEntry, k.keyID)
			k.until = 0 // until it is known better
		}
		if k.key != nil {
			k.poolName, k.until = k.key.entry.Pool, k.key.record.goodUntil(keyID, k.keyID)
		}
	}
	if k.pool = k.key; k.poolName != "" {
		k.pool = c.entry(provider, policy, PoolEntry, k.poolName)
	}
	return k
}

// knownAs is what is known of a provider and a key that was in a pool ("" for none) when it was charged.
func (c *Coordinator) knownAs(provider string, policy *policyView, keyID, pool string) known {
	k := c.known(provider, policy, keyID, pool)
	if k.poolName != pool {
		if k.poolName, k.pool = pool, k.key; pool != "" {
			k.pool = c.entry(provider, policy, PoolEntry, pool)
		}
	}
	return k
}

// entry is what is known of an entry, or nil.
func (c *Coordinator) entry(provider string, policy *policyView, kind EntryKind, name string) *entryView {
	v, _ := c.entries.Get(DocID{provider, kind, name})
	return v.under(policy)
}

// stamps are the tags of what is known.
func (k known) stamps() Stamps {
	s := Stamps{Policy: k.policy.record.Tag}
	if k.key != nil {
		s.Key = k.key.record.Tag
	}
	if k.pool != nil && k.pool != k.key {
		s.Pool = k.pool.record.Tag
	}
	return s
}

// owner is the entry that has a word about limits of a scope, or nil.
func (k known) owner(s Scope) *entryView {
	switch s {
	case ScopeKey:
		return k.key
	case ScopePool:
		return k.pool
	}
	return nil
}

// terms are those of the i-th limit of the policy, with what the key or pool overrides.
func (k known) terms(i int) *Terms {
	return k.owner(k.policy.policy.Limits[i].Scope).terms(k.policy, i)
}

// resolve fills in the charge: which counters the ask has to fit, at what cost.
func (a *attempt) resolve(k known) {
	c := &a.charge
	c.KeyID, c.Pool = k.keyID, k.poolName
	a.policy, a.key, a.pool, a.refusal, a.ignored = k.policy, k.key, k.pool, nil, nil
	c.Stamps, c.Lines = k.stamps(), c.Lines[:0]
	c.NotAfter = min(a.now.Later(askLifetime), k.until-1)
	if a.until = k.until; k.until <= a.now { // it is refused, if the documents are these
		c.NotAfter = a.now.Later(askLifetime)
	}
	if !a.usage {
		a.refusal = refuse(k, a.now)
	}
	if a.refusal == nil {
		a.refusal = a.lines(k)
	}
	if a.refusal != nil {
		c.Lines = c.Lines[:0]
		return
	}
	for _, cost := range a.ask.Cost {
		counted := func(l Line) bool {
			return l.Terms.Limit.Counts.names(cost.Unit) || l.Terms.Limit.ReserveCounts.names(cost.Unit)
		}
		if !slices.ContainsFunc(c.Lines, counted) {
			a.ignored = append(a.ignored, cost.Unit)
		}
	}
}

// refuse applies what entries and policy say of a key as a whole.
func refuse(k known, now Instant) error {
	switch {
	case k.until <= now, k.key != nil && k.key.entry.Disabled, k.pool != nil && k.pool.entry.Disabled:
		return ErrKeyDisabled
	case k.policy.policy.DenyUnknown && (k.key == nil || k.key.record.deleted()):
		return ErrUnknownKey
	}
	return nil
}

// lines adds a line for every limit that applies.
func (a *attempt) lines(k known) error {
	c := &a.charge
	for i, limit := range k.policy.policy.Limits {
		t, subject := k.terms(i), ""
		switch {
		case limit.Scope == ScopePool && c.Pool != "":
			subject = poolSubject(c.Pool)
		case limit.Scope != ScopeProvider:
			subject = k.keyID
		}
		if limit.Scope != ScopeProvider && subject == "" { // only in a query that names no key or pool
			continue
		}
		l := Line{Terms: t, Subject: subject, Window: t.windowAt(a.now)}
		if limit.PerModel {
			l.Model = a.ask.Model
		}
		if !a.usage {
			if a.ask.Model == "" && limit.needsModel() && t.Limit.Mode == Enforce {
				return &InvalidError{[]Fault{{"/model", "is missing: limit " + limit.Name + " looks at the model"}}}
			}
			if !limit.appliesTo(a.ask.Model) {
				continue
			}
			l.Cost = t.reserve(a.ask.Cost)
			if most := t.Limit.Burst; l.Cost > most && t.Limit.Mode == Enforce {
				return &CostError{limit.Name, limit.Unit, l.Cost, most}
			}
		} else if !limit.visibleTo(a.ask.Model) {
			continue
		}
		if c.Lines = append(c.Lines, l); len(c.Lines) > MaxLimitsPerAsk && !a.usage {
			return &InvalidError{[]Fault{{"/model", "more than 16 limits apply to this model; the policy must not let that happen"}}}
		}
	}
	return nil
}

// visibleTo reports whether usage of the limit can be shown: with a model, if it applies; without, unless each model
// has a counter of its own.
func (l *Limit) visibleTo(model string) bool {
	if model == "" {
		return !l.PerModel
	}
	return l.Models.Match(model)
}

// reserve is what an ask costs when it is acquired.
func (t *Terms) reserve(ask Costs) int64 {
	total, _ := t.Limit.ReserveCounts.sum(ask)
	if !t.Limit.named(ask) {
		return t.Limit.DefaultCost
	}
	return total
}

// named reports whether an ask names any unit that the limit counts, when acquiring or settling.
func (l *Limit) named(ask Costs) bool {
	for _, w := range []Weights{l.ReserveCounts, l.Counts} {
		for _, k := range w {
			if _, ok := ask.of(k.Unit); ok || k.Unit == DefaultUnit {
				return true
			}
		}
	}
	return false
}
