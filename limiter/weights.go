package limiter

import (
	"slices"
	"strconv"
	"strings"
)

// Cost is how much of one unit an ask names.
type Cost struct {
	Unit   string
	Amount int64
}

// Costs are the units that an ask names, each once.
type Costs []Cost

// of finds what is named of a unit.
func (c Costs) of(unit string) (int64, bool) {
	for _, k := range c {
		if k.Unit == unit {
			return k.Amount, true
		}
	}
	return 0, false
}

// Weight is how much one of a unit counts.
type Weight struct {
	Unit   string
	Weight int64
}

// Weights say how a limit counts the units of an ask, in the order of the units' names.
type Weights []Weight

// String is a canonical form, "input_tokens=1,output_tokens=5".
func (w Weights) String() string {
	parts := make([]string, len(w))
	for i, k := range w {
		parts[i] = k.Unit + "=" + strconv.FormatInt(k.Weight, 10)
	}
	return strings.Join(parts, ",")
}

// of is the weight of a unit, 0 if it is not weighed.
func (w Weights) of(unit string) int64 {
	for _, k := range w {
		if k.Unit == unit {
			return k.Weight
		}
	}
	return 0
}

// names reports whether a unit is weighed.
func (w Weights) names(unit string) bool {
	return slices.ContainsFunc(w, func(k Weight) bool { return k.Unit == unit })
}

// with is w with one more unit, which it does not weigh yet.
func (w Weights) with(more Weight) Weights {
	at, _ := slices.BinarySearchFunc(w, more.Unit, func(k Weight, unit string) int { return strings.Compare(k.Unit, unit) })
	return slices.Insert(slices.Clone(w), at, more)
}

// sum weighs what an ask names; requests is 1 unless the ask names it. The sum saturates far above every amount.
func (w Weights) sum(ask Costs) (total int64) {
	for _, k := range w {
		n, ok := ask.of(k.Unit)
		if !ok && k.Unit == DefaultUnit {
			n = 1
		}
		total = addUnits(total, mulUnits(n, k.Weight))
	}
	return total
}

// named reports whether an ask names any of the units. Every ask names requests, where they weigh anything.
func (w Weights) named(ask Costs) bool {
	for _, k := range w {
		if _, ok := ask.of(k.Unit); ok || k.Unit == DefaultUnit && k.Weight > 0 {
			return true
		}
	}
	return false
}
