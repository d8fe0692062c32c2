package limiter

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/go-json-experiment/json/jsontext"
)

const namePattern = "[a-z0-9][a-z0-9._-]{0,63}"

const maxNameLen = 64

// ValidName reports whether s may name a provider, a pool or a limit.
func ValidName(s string) bool {
	for i, c := range []byte(s) {
		alnum := c >= 'a' && c <= 'z' || c >= '0' && c <= '9'
		if !alnum && (i == 0 || c != '.' && c != '_' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= maxNameLen
}

const unitPattern = "[a-z][a-z0-9_]{0,31}"

// ValidUnit reports whether s may name a unit of cost.
func ValidUnit(s string) bool {
	for i, c := range []byte(s) {
		if (c < 'a' || c > 'z') && (i == 0 || (c < '0' || c > '9') && c != '_') {
			return false
		}
	}
	return s != "" && len(s) <= 32
}

// ParsePolicy reads and checks a policy document in JSON. Every broken rule is named in the [*InvalidError] that it
// returns. The document itself is kept as it was written (less white space).
func ParsePolicy(doc []byte) (*Policy, error) {
	var f faults
	root := parseTree(doc, &f)
	p := &Policy{OnStoreFailure: FailShare, HoldTTL: DefaultHoldTTL, MaxUnknownKeys: DefaultUnknownKeys, MaxModels: DefaultModels}
	if root.object() {
		p.read(root)
	}
	if err := f.err(); err != nil {
		return nil, err
	}
	if p.body = compact(doc); len(p.body) > MaxPolicySize {
		f.add("", "has %d bytes; a policy has at most %d: leave out limits, or globs of their models", len(p.body), MaxPolicySize)
		return nil, f.err()
	}
	return p, nil
}

func (p *Policy) read(n *node) {
	oneOf(n.take("on_store_failure"), &p.OnStoreFailure, FailDeny, FailAllow, FailShare)
	n.take("hold_ttl").duration(&p.HoldTTL, MinHoldTTL, MaxHoldTTL)
	p.DenyUnknown = n.take("unknown_keys").denies("allow")
	p.DenyModels = n.take("unknown_models").denies("allow")
	p.DenyUnits = n.take("unknown_units").denies("ignore")
	n.take("max_unknown_keys").integer(&p.MaxUnknownKeys, 0, MaxNames)
	n.take("max_models").integer(&p.MaxModels, 0, MaxNames)
	if limits := n.take("limits"); limits == nil {
		n.fail("limits is missing: name at least one limit, or {} to count nothing")
	} else if limits.object() {
		p.readLimits(limits)
	}
	n.rest("on_store_failure, hold_ttl, unknown_keys, unknown_models, unknown_units, max_unknown_keys, max_models, limits")
}

// denies reads deny, or the word for the contrary, which is the default.
func (n *node) denies(otherwise string) bool {
	what := otherwise
	oneOf(n, &what, otherwise, "deny")
	return what == "deny"
}

func (p *Policy) readLimits(n *node) {
	if len(n.members) > MaxLimits {
		n.fail("has %d limits; at most %d are allowed", len(n.members), MaxLimits)
		return
	}
	always := 0
	for _, m := range n.members {
		if !ValidName(m.name) {
			m.node.fail("a limit's name must match %s", namePattern)
		}
		if l := parseLimit(m.name, m.node); l != nil {
			p.Limits = append(p.Limits, l)
			if len(l.Models) == 0 {
				always++
			}
		}
	}
	if always > MaxLimitsPerAsk {
		n.fail("%d limits apply to every ask; at most %d may apply to one", always, MaxLimitsPerAsk)
	}
	slices.SortFunc(p.Limits, func(a, b *Limit) int { return strings.Compare(a.Name, b.Name) })
}

const limitMembers = "scope, kind, mode, amount, per, burst, timezone, strict_window, slack, " +
	"unit, counts, reserve_counts, default_cost, required, models, per_model"

func parseLimit(name string, n *node) *Limit {
	if !n.object() {
		return nil
	}
	l := &Limit{Name: name, Mode: Enforce, Unit: DefaultUnit}
	if scope := n.take("scope"); scope == nil {
		n.fail("scope is missing: provider, pool or key")
	} else {
		oneOf(scope, &l.Scope, ScopeProvider, ScopePool, ScopeKey)
	}
	oneOf(n.take("mode"), &l.Mode, Enforce, Shadow)
	if amount := n.take("amount"); amount == nil {
		n.fail("amount is missing: a whole number from 1 to %d", MaxAmount)
	} else {
		amount.integer(&l.Amount, 1, MaxAmount)
	}
	l.readCounting(n)
	n.take("per_model").boolean(&l.PerModel)
	n.take("models").models(&l.Models)
	if kind := n.take("kind"); kind == nil {
		n.fail("kind is missing: rate, quota or concurrency")
	} else if oneOf(kind, &l.Kind, KindRate, KindQuota, KindConcurrency) {
		l.readKind(n, kind)
	}
	for name := range strings.SplitSeq(limitMembers, ", ") { // known, even where an unknown kind left them unread
		n.take(name)
	}
	n.rest(limitMembers)
	return l
}

// readKind reads what only some kinds have.
func (l *Limit) readKind(n, kind *node) {
	only := func(name string, of Kind) *node {
		m := n.take(name)
		if m != nil && l.Kind != of {
			m.fail("only a limit of kind %s has %s; this one is a %s", of, name, l.Kind)
			return nil
		}
		return m
	}
	burst := only("burst", KindRate)
	strict := only("strict_window", KindRate)
	slack := only("slack", KindRate)
	timezone := only("timezone", KindQuota)
	per := n.take("per")
	switch l.Kind {
	case KindRate:
		strict.boolean(&l.Strict)
		burst.integer(&l.burst, 1, MaxAmount)
		slack.duration(&l.Slack, 0, MaxPer)
		if l.Slack > 0 && !l.Strict {
			slack.fail("slack is part of strict_window: add strict_window: true, or leave slack out")
		}
		if per == nil {
			n.fail("per is missing: a duration from 1ms to 31d, such as 1m")
		} else if per.duration(&l.Per, MinPer, MaxPer) && l.Amount > 0 {
			s := l.spec()
			if l.Burst = s.burst(); s.fault() != "" {
				n.fail("%s", s.fault())
			}
		}
	case KindQuota:
		l.Burst = l.Amount
		l.Calendar.Zone = time.UTC
		timezone.zone(&l.Calendar.Zone)
		if per == nil {
			n.fail("per is missing: hour, day, week or month")
		} else {
			oneOf(per, &l.Calendar.Period, periods...)
		}
	case KindConcurrency:
		l.Burst = l.Amount
		if per != nil {
			per.fail("a concurrency limit has no per: its slots are held until they are given back; leave it out")
		}
	}
}

func (l *Limit) readCounting(n *node) {
	if u := n.take("unit"); u.str(&l.Unit) && !ValidUnit(l.Unit) {
		u.fail("a unit must match %s", unitPattern)
	}
	l.Counts = Weights{{l.Unit, 1}}
	if c := n.take("counts"); c != nil && c.weights(&l.Counts) {
		if !slices.ContainsFunc(l.Counts, func(w Weight) bool { return w.Weight > 0 }) {
			c.fail("must give at least one unit a weight above 0, or the limit counts nothing")
		}
	}
	l.ReserveCounts = l.Counts
	if c := n.take("reserve_counts"); c != nil {
		c.weights(&l.ReserveCounts)
	}
	l.weighOwnUnit()
	n.take("default_cost").integer(&l.DefaultCost, 0, MaxAmount)
	n.take("required").boolean(&l.Required)
}

// weighOwnUnit gives the limit's own unit a weight of 1 where counts does not weigh it, so that an ask may name the sum
// itself: {"tokens": 500} where input_tokens and output_tokens are counted. It does not do so for requests, which every ask
// names: they count only where they are weighed.
func (l *Limit) weighOwnUnit() {
	if l.Unit == DefaultUnit || l.Counts.names(l.Unit) {
		return
	}
	l.sums = true
	l.Counts = l.Counts.with(Weight{l.Unit, 1})
	if !l.ReserveCounts.names(l.Unit) {
		l.ReserveCounts = l.ReserveCounts.with(Weight{l.Unit, 1})
	}
}

func (n *node) weights(into *Weights) bool {
	if !n.object() {
		return false
	}
	if len(n.members) > maxWeightsPerUnit {
		n.fail("weighs %d units; at most %d are allowed", len(n.members), maxWeightsPerUnit)
		return false
	}
	w := make(Weights, 0, len(n.members))
	for _, m := range n.members {
		if !ValidUnit(m.name) {
			m.node.fail("a unit must match %s", unitPattern)
		}
		var weight int64
		if m.node.integer(&weight, 0, MaxWeight) {
			w = append(w, Weight{m.name, weight})
		}
	}
	slices.SortFunc(w, func(a, b Weight) int { return strings.Compare(a.Unit, b.Unit) })
	*into = w
	return len(w) == len(n.members)
}

func (n *node) models(into *Models) {
	if n == nil {
		return
	}
	if n.kind != '[' {
		n.fail("must be an array of globs, not %s", n.kindName())
		return
	}
	if len(n.items) == 0 || len(n.items) > maxModelPatterns {
		n.fail("must hold 1 to %d globs; leave it out to match every model", maxModelPatterns)
	}
	for _, item := range n.items {
		var glob string
		if !item.str(&glob) {
			continue
		}
		if plain := strings.TrimPrefix(glob, "!"); plain == "" || !Printable(plain, MaxModelLen) {
			item.fail("a glob must be 1 to %d printable characters, %q after it", MaxModelLen, "!")
			continue
		}
		if n := strings.Count(glob, "*"); n > maxStars {
			item.fail("has %d times %q; a glob may have it at most %d times: leave out those beside one another, or write several globs", n, "*", maxStars)
			continue
		}
		*into = append(*into, glob)
	}
}

func (n *node) duration(into *time.Duration, low, high time.Duration) bool {
	var s string
	if !n.str(&s) {
		return false
	}
	d, err := ParseDuration(s)
	switch {
	case err != nil:
		n.fail("%v", err)
	case d < low || d > high:
		n.fail("must be from %s to %s, not %s", FormatDuration(low), FormatDuration(high), s)
	case d%time.Microsecond != 0:
		n.fail("must be whole microseconds, not %s", s)
	default:
		*into = d
		return true
	}
	return false
}

func (n *node) zone(into **time.Location) {
	var s string
	if !n.str(&s) {
		return
	}
	z, err := loadZone(s)
	if err != nil {
		n.fail("%v", err)
		return
	}
	*into = z
}

// ParseDuration reads a Go duration ("90s", "1h30m") that may start with whole days ("7d", "1d12h").
func ParseDuration(s string) (time.Duration, error) {
	bad := fmt.Errorf("must be a duration such as 500ms, 1m, 1h30m or 7d, not %q", s)
	days, rest, hasDays := strings.Cut(s, "d")
	if !hasDays {
		d, err := time.ParseDuration(s)
		if err != nil || s[0] == '+' || s[0] == '-' {
			return 0, bad
		}
		return d, nil
	}
	n, err := strconv.ParseUint(days, 10, 16)
	if err != nil {
		return 0, bad
	}
	d := time.Duration(n) * 24 * time.Hour
	if rest == "" {
		return d, nil
	}
	more, err := time.ParseDuration(rest)
	if err != nil || more < 0 || rest[0] == '+' || more > math.MaxInt64-d {
		return 0, bad
	}
	return d + more, nil
}

// FormatDuration writes d so that [ParseDuration] reads it back, in whole days where it can.
func FormatDuration(d time.Duration) string {
	if day := 24 * time.Hour; d >= day && d%day == 0 {
		return strconv.FormatInt(int64(d/day), 10) + "d"
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Printable reports whether s is 1 to most printable characters.
func Printable(s string, most int) bool {
	n := 0
	for _, r := range s {
		if n++; n > most || !unicode.IsPrint(r) || r == unicode.ReplacementChar {
			return false
		}
	}
	return n > 0
}

// compact is a checked document without insignificant white space; all else stays as written.
func compact(doc []byte) []byte {
	v := jsontext.Value(slices.Clone(doc))
	if err := v.Compact(jsontext.PreserveRawStrings(true)); err != nil {
		panic(errors.Join(errors.New("a document that was parsed can't be compacted"), err))
	}
	return v
}
