package limiter

// Ask is a request for a permit.
type Ask struct {
	Provider string
	Key      string // the API key, or KeyID
	KeyID    string // see [KeyID]
	Model    string // "" only where no enforced limit looks at the model
	Cost     Costs  // by unit; requests is 1 unless named
	DryRun   bool   // charge nothing, answer as if
}

// Validate checks all that can be checked without the policy, and fills in KeyID. Pointers in the [*InvalidError] are
// those of the JSON form of the ask.
func (a *Ask) Validate() error {
	var f faults
	switch {
	case a.Provider == "":
		f.add("/provider", "is missing: name the provider that will be called")
	case !ValidName(a.Provider):
		f.add("/provider", "a provider's name must match %s", namePattern)
	}
	switch {
	case a.Key == "" && a.KeyID == "":
		f.add("/key", "is missing: send the API key as key, or its key id as key_id")
	case a.Key != "" && a.KeyID != "":
		f.add("/key_id", "send key or key_id, not both")
	case a.KeyID != "" && !ValidKeyID(a.KeyID):
		f.add("/key_id", "a key id is k_ and the first 32 lower-case hex digits of the key's SHA-256; see permitd key-id")
	case a.Key != "" && !printable(a.Key, MaxKeyLen):
		f.add("/key", "must be 1 to %d printable characters", MaxKeyLen)
	}
	if a.Model != "" && !printable(a.Model, MaxModelLen) {
		f.add("/model", "must be 1 to %d printable characters", MaxModelLen)
	}
	if len(a.Cost) > MaxUnitsPerAsk {
		f.add("/cost", "names %d units; at most %d are allowed", len(a.Cost), MaxUnitsPerAsk)
	}
	for i, c := range a.Cost {
		at := pointer("/cost", c.Unit)
		if !ValidUnit(c.Unit) {
			f.add(at, "a unit must match %s", unitPattern)
		}
		if c.Amount < 0 || c.Amount > MaxAmount {
			f.add(at, "must be a whole number from 0 to %d", MaxAmount)
		}
		if _, twice := a.Cost[:i].of(c.Unit); twice {
			f.add(at, "is given twice")
		}
	}
	if err := f.err(); err != nil {
		return err
	}
	if a.Key != "" {
		a.KeyID, a.Key = KeyID(a.Key), ""
	}
	return nil
}
