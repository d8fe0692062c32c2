package limiter

import (
	"strings"
	"time"
)

// Bounds of what a document may hold and an ask may name.
const (
	MaxAmount            = 1_000_000_000_000 // of an amount, a burst and a cost
	MaxWeight            = 1000
	MaxPer               = 31 * 24 * time.Hour
	MinPer               = time.Millisecond
	MaxPolicySize        = 1 << 20 // bytes of a policy, without blanks between its parts
	MaxLimits            = 64      // per policy
	MaxLimitsPerAsk      = 16
	MaxKeyLen            = 4096 // characters of an API key
	MaxIdempotencyKeyLen = 255
	MaxModelLen          = 256 // characters of a model's name
	MaxLabelLen          = 200 // characters of an entry's label
	MaxNoteLen           = 200 // characters of what is said about a write
	MaxUnitsPerAsk       = 32
	MinHoldTTL           = time.Second
	MaxHoldTTL           = 24 * time.Hour
	DefaultHoldTTL       = 10 * time.Minute
	DefaultUnknownKeys   = 1_000_000   // of max_unknown_keys
	DefaultModels        = 1000        // of max_models
	MaxNames             = 100_000_000 // of max_unknown_keys and max_models
	DefaultUnit          = "requests"  // what a limit counts when it names no unit; 1 in an ask that does not name it
	maxModelPatterns     = 256
	maxStars             = 8 // per glob
	maxWeightsPerUnit    = 32
)

// Scope says whose traffic a limit counts together.
type Scope string

// The scopes. A key that is in no pool is a pool of its own.
const (
	ScopeProvider Scope = "provider" // everything sent to the provider
	ScopePool     Scope = "pool"     // one account there: all keys whose entry names the pool
	ScopeKey      Scope = "key"      // one API key
)

// Kind says how a limit counts.
type Kind string

// The kinds of limit.
const (
	KindRate        Kind = "rate"        // so many units per duration, continuously (GCRA)
	KindQuota       Kind = "quota"       // so many units per calendar window
	KindConcurrency Kind = "concurrency" // so many holds at a time
)

// Mode says what a limit does when a cost does not fit.
type Mode string

// The modes. A shadow limit is charged when the permit is granted and reports what it would have done.
const (
	Enforce Mode = "enforce"
	Shadow  Mode = "shadow"
)

// OnStoreFailure says how permits are answered while the store is away.
type OnStoreFailure string

// The ways to answer. Share lets each instance run at its part of the limits.
const (
	FailShare OnStoreFailure = "share"
	FailDeny  OnStoreFailure = "deny"
	FailAllow OnStoreFailure = "allow"
)

// Policy is the validated document of one provider with its defaults filled in. It is immutable; make one with
// [ParsePolicy].
type Policy struct {
	OnStoreFailure OnStoreFailure
	HoldTTL        time.Duration // default and longest life of an unsettled hold
	DenyUnknown    bool          // unknown_keys: deny
	DenyModels     bool          // unknown_models: deny
	DenyUnits      bool          // unknown_units: deny
	MaxUnknownKeys int64         // keys without an entry that have counters of their own, at most
	MaxModels      int64         // models that have, where each model is counted apart
	Limits         []*Limit      // by name

	body []byte
}

// Body is the document as it was written, in JSON.
func (p *Policy) Body() []byte { return p.body }

// Limit finds a limit by its name, or nil.
func (p *Policy) Limit(name string) *Limit {
	for _, l := range p.Limits {
		if l.Name == name {
			return l
		}
	}
	return nil
}

// Limit is one limit of a policy with its defaults filled in.
type Limit struct {
	Name          string
	Scope         Scope
	Kind          Kind
	Mode          Mode
	Unit          string  // what the limit counts, by name
	Counts        Weights // how an ask's units are counted when settling, Unit among them (see [Limit.weighOwnUnit])
	ReserveCounts Weights // and when acquiring
	DefaultCost   int64   // charged when an ask names no unit that is counted
	sums          bool    // Unit stands for the sum of the units that counts weighs, and is not one of them
	Required      bool    // an ask that names none is refused, unless the limit is a shadow
	Models        Models
	PerModel      bool // each model has a counter of its own

	Amount   int64
	Burst    int64         // rate: the most that may be in debt; quota: equal to Amount
	Per      time.Duration // rate
	Slack    time.Duration // rate with StrictWindow
	Strict   bool          // rate: no sliding window of Per sees more than Amount
	Calendar Calendar      // quota

	burst int64 // as written, 0 when left to the default
}

// BurstIsDefault reports whether the document of a rate names no burst.
func (l *Limit) BurstIsDefault() bool { return l.Kind == KindRate && l.burst == 0 }

// spec is what the rate is made of, with the burst as written.
func (l *Limit) spec() spec {
	return spec{Amount: l.Amount, Burst: l.burst, Per: int64(l.Per / time.Microsecond), Slack: int64(l.Slack / time.Microsecond), Strict: l.Strict}
}

// needsModel reports whether the limit can't be applied to an ask that names no model.
func (l *Limit) needsModel() bool { return l.PerModel || len(l.Models) > 0 }

// identity changes when an edit makes what the counters hold meaningless, so that they have to start afresh.
func (l *Limit) identity() string {
	id := []string{string(l.Kind), l.Unit, string(l.Scope), l.Counts.String()}
	if l.PerModel {
		id = append(id, "per_model")
	}
	if l.Kind == KindQuota {
		id = append(id, string(l.Calendar.Period), l.Calendar.Zone.String())
	}
	return strings.Join(id, "|")
}

// meaning reads the kind and the scope of a limit off its track.
func (t Track) meaning() (Kind, Scope) {
	parts := strings.SplitN(t.Identity, "|", 4)
	return Kind(parts[0]), Scope(parts[2])
}

// spec is what decides the speed and size of a rate limit.
type spec struct {
	Amount int64 `json:"amount,omitzero"`
	Burst  int64 `json:"burst,omitzero"` // 0: the default
	Per    int64 `json:"per_us,omitzero"`
	Slack  int64 `json:"slack_us,omitzero"`
	Strict bool  `json:"strict,omitzero"`
	// Calendar: of an override, its per is the length of a calendar period, which no rate has.
	Calendar bool `json:"calendar,omitzero"`
}

// burst is the burst in force.
func (s spec) burst() int64 {
	switch {
	case s.Burst > 0:
		return s.Burst
	case s.Strict:
		return strictBurst(s.Amount)
	}
	return s.Amount
}

// strictBurst is the default burst of a strict window.
func strictBurst(amount int64) int64 { return max(1, amount/10) }

// rate is the speed in force. A strict window sustains amount - burst per (per + slack): calls that arrive within per
// were permitted within per + slack, and in any stretch that long at most burst + (amount - burst) are.
func (s spec) rate() Rate {
	if s.Strict {
		return Rate{max(1, s.Amount-s.burst()), s.Per + s.Slack} // the 1 is of an amount of 1 that was clamped
	}
	return Rate{s.Amount, s.Per}
}

// fault says why a spec can't be, or "".
func (s spec) fault() string {
	if s.Strict && s.burst() >= s.Amount {
		return "strict_window needs burst below amount (it sustains amount - burst per window)"
	}
	return ""
}
