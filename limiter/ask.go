package limiter

import (
	"strings"
	"time"
)

// Ask is a request for a permit.
type Ask struct {
	Provider string
	Key      string // the API key, or KeyID
	KeyID    string // see [KeyID]
	Model    string // "" only where no enforced limit looks at the model
	Cost     Costs  // by unit; requests is 1 unless named
	// IdempotencyKey, if not empty, has the ask granted once: asked again under the same key by the same Caller, it gets
	// the first answer for max(10 min, the hold's life). At most 255 printable characters.
	IdempotencyKey string
	Caller         string        // who asks, as far as known
	DryRun         bool          // charge nothing, answer as if
	Hold           bool          // keep a record, so that the permit can be settled
	TTL            time.Duration // of the hold, in whole milliseconds; default and at most the policy's hold_ttl
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
	case a.Key != "" && !Printable(a.Key, MaxKeyLen):
		f.add("/key", "must be 1 to %d printable characters", MaxKeyLen)
	}
	f.checkModel(a.Model)
	if a.Model == Other {
		f.add("/model", "%s stands for all models that are too many to be counted apart: name the model that will be called", Other)
	}
	if a.IdempotencyKey != "" && !Printable(a.IdempotencyKey, MaxIdempotencyKeyLen) {
		f.add("/idempotency_key", "must be 1 to %d printable characters", MaxIdempotencyKeyLen)
	}
	a.Cost.check(&f)
	if a.TTL < 0 {
		f.add("/ttl_ms", "must be from 1 to the provider's hold_ttl")
	}
	if err := f.err(); err != nil {
		return err
	}
	if a.Key != "" {
		a.KeyID, a.Key = KeyID(a.Key), ""
	}
	return nil
}

// checkModel adds what is wrong with the name of a model; "" is none.
func (f *faults) checkModel(model string) {
	switch {
	case model == "":
	case !Printable(model, MaxModelLen):
		f.add("/model", "must be 1 to %d printable characters", MaxModelLen)
	case strings.TrimSpace(model) != model:
		f.add("/model", "must not begin or end with a blank: no limit would take it for the model that is meant")
	}
}

// check adds what is wrong with the costs.
func (c Costs) check(f *faults) {
	if len(c) > MaxUnitsPerAsk {
		f.add("/cost", "names %d units; at most %d are allowed", len(c), MaxUnitsPerAsk)
		return
	}
	for i, k := range c {
		if !ValidUnit(k.Unit) {
			f.add(pointer("/cost", k.Unit), "a unit must match %s", unitPattern)
		}
		if k.Amount < 0 || k.Amount > MaxAmount {
			f.add(pointer("/cost", k.Unit), "must be a whole number from 0 to %d", MaxAmount)
		}
		if _, twice := c[:i].of(k.Unit); twice {
			f.add(pointer("/cost", k.Unit), "is given twice")
		}
	}
}

func (c Costs) validate() error {
	var f faults
	c.check(&f)
	return f.err()
}
