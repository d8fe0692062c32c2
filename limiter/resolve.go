package limiter

// attempt is one ask on its way through the store.
type attempt struct {
	ask          *Ask
	charge       Charge
	policy       *policyView
	key          *entryView
	pool         *entryView
	ignored      []string // units that no limit counts which applies,
	unknownUnits []string // and those of them that no limit of the policy does
	unknownModel bool
	refusal      error // why the ask can't be granted whatever the counters say; holds once the store confirms the stamps
	now          Instant
	until        Instant // when the time of a key that was rotated is over
	usage        bool    // show the counters of all limits that can be named, charge nothing
	crowd        Crowd   // kinds of names of which there are too many for the ask's to be counted apart
	model        string  // that limits count apart

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

// termsFor returns the terms of the i-th limit for a subject. Those who are counted together as [Other] go by the policy
// alone, whatever the entry says that one of them has got meanwhile.
func (k known) termsFor(i int, subject string) *Terms {
	if subject == Other {
		return k.policy.terms[i]
	}
	return k.terms(i)
}

// resolve fills in the charge: which counters the ask has to fit, at what cost.
func (a *attempt) resolve(k known) {
	c := &a.charge
	c.KeyID, c.Pool = k.keyID, k.poolName
	a.policy, a.key, a.pool = k.policy, k.key, k.pool
	a.ignored, a.unknownUnits, a.unknownModel = nil, nil, false
	c.Stamps, c.Lines = k.stamps(), c.Lines[:0]
	c.NotAfter = min(a.now.Later(askLifetime), k.until-1)
	if a.until = k.until; k.until <= a.now { // it is refused, if the documents are these
		c.NotAfter = a.now.Later(askLifetime)
	}
	if a.refusal = a.refuse(k); a.refusal != nil {
		c.Lines = c.Lines[:0]
	}
}

// refuse adds the lines of the ask, or says why it is refused whatever they hold.
func (a *attempt) refuse(k known) error {
	if a.usage {
		return a.lines(k)
	}
	if err := refuse(k, a.now); err != nil {
		return err
	}
	if err := a.checkModel(k.policy); err != nil {
		return err
	}
	if err := a.lines(k); err != nil {
		return err
	}
	return a.checkUnits(k.policy.policy)
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
	applying := k.policy.applying(a.ask.Model)
	if a.usage {
		applying = k.policy.showing(a.ask.Model)
	}
	for i, limit := range k.policy.policy.Limits {
		t, subject := k.terms(i), ""
		if !a.usage && a.ask.Model == "" && limit.needsModel() && t.Limit.Mode == Enforce {
			return &InvalidError{[]Fault{{"/model", "is missing: limit " + limit.Name + " looks at the model"}}}
		}
		if !applying.has(i) {
			continue
		}
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
		l.Free = a.usage // it only looks
		if !a.usage {
			l.Cost, l.Unweighed = t.reserve(a.ask.Cost)
			if most := t.Limit.Burst; l.Cost > most && t.Limit.Mode == Enforce {
				return &CostError{limit.Name, limit.Unit, l.Cost, most}
			}
		}
		if c.Lines = append(c.Lines, l); len(c.Lines) > MaxLimitsPerAsk && !a.usage {
			return &InvalidError{[]Fault{{"/model", "more than 16 limits apply to this model; the policy must not let that happen"}}}
		}
	}
	return nil
}

// waive lets lines of cost 0 pass whatever their counters hold, where the ask names all units of the limit as 0 itself.
// Nothing is waived for an ask that leads to a hold: what it will cost is not known yet.
func (a *attempt) waive() {
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		l.Free = l.Cost == 0 && l.Terms.Limit.namesOnlyZero(a.ask.Cost)
	}
}

// namesOnlyZero reports whether an ask names every unit that the limit counts, or the unit that stands for their sum, and
// each of those that it names as 0.
func (l *Limit) namesOnlyZero(ask Costs) bool {
	all := true
	for _, w := range []Weights{l.ReserveCounts, l.Counts} {
		for _, k := range w {
			n, named := ask.of(k.Unit)
			if n > 0 {
				return false
			}
			all = all && (named || l.sums && k.Unit == l.Unit)
		}
	}
	_, sum := ask.of(l.Unit)
	return all || l.sums && sum
}

// reserve is what an ask costs when it is acquired. unweighed says that it names no unit of the limit, so that this is the
// default cost.
func (t *Terms) reserve(ask Costs) (cost int64, unweighed bool) {
	if l := t.Limit; l.ReserveCounts.named(ask) || l.Counts.named(ask) {
		return l.ReserveCounts.sum(ask), false
	}
	return t.Limit.DefaultCost, true
}
