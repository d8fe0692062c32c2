package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// weighted is a name that is drawn in proportion to its weight: "NAME" or "NAME=WEIGHT". A weight is 1 unless it is given.
type weighted struct {
	name   string
	weight float64
}

func (w weighted) String() string {
	if w.weight == 1 {
		return w.name
	}
	return fmt.Sprintf("%s=%g", w.name, w.weight)
}

// UnmarshalText reads a weighted name from the command line.
func (w *weighted) UnmarshalText(text []byte) error {
	*w = weighted{strings.TrimSpace(string(text)), 1}
	if at := strings.LastIndex(w.name, "="); at >= 0 {
		v, err := strconv.ParseFloat(w.name[at+1:], 64)
		if err != nil || !(v > 0) || math.IsInf(v, 0) {
			return fmt.Errorf("must be a name, or a name and its weight above 0, such as gpt-4o=3, not %q", text)
		}
		w.name, w.weight = strings.TrimSpace(w.name[:at]), v
	}
	if w.name == "" {
		return fmt.Errorf("must be a name, or a name and its weight, such as gpt-4o=3, not %q", text)
	}
	return nil
}

// checkNames refuses a name that is given twice.
func checkNames(flag string, list []weighted) error {
	seen := map[string]bool{}
	for _, w := range list {
		if seen[w.name] {
			return fmt.Errorf("%s has %s twice", flag, w.name)
		}
		seen[w.name] = true
	}
	return nil
}

// pick draws a name; "" where there is none.
func pick(list []weighted, random *rand.Rand) string {
	var all float64
	for _, w := range list {
		all += w.weight
	}
	at := random.Float64() * all
	for _, w := range list {
		if at -= w.weight; at < 0 {
			return w.name
		}
	}
	if len(list) == 0 {
		return ""
	}
	return list[len(list)-1].name // rounding
}
