package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
)

// distribution is what a number of tokens is drawn from: "1500", always; "uniform(MIN,MAX)", each whole number from MIN to
// MAX as often as the others; or "lognormal(MEDIAN,SIGMA,MAX)", the exponential of a normal distribution of the deviation
// SIGMA, where half are below MEDIAN, rounded down to a whole number from 1 to MAX.
type distribution struct {
	text string
	draw func(*rand.Rand) int64
}

func (d distribution) String() string { return d.text }

// UnmarshalText reads a distribution from the command line.
func (d *distribution) UnmarshalText(text []byte) error {
	s := strings.ReplaceAll(string(text), " ", "")
	form, list, call := strings.Cut(s, "(")
	list, closed := strings.CutSuffix(list, ")")
	if !call {
		form, list, closed = "always", s, true
	}
	var n []float64
	for _, one := range strings.Split(list, ",") {
		v, err := strconv.ParseFloat(one, 64)
		if err != nil || !(v >= 0 && v <= maxTokens) {
			closed = false
		}
		n = append(n, v)
	}
	whole := func(v float64) bool { return v == math.Trunc(v) }
	switch {
	case !closed:
	case form == "always" && len(n) == 1 && whole(n[0]):
		*d = distribution{s, func(*rand.Rand) int64 { return int64(n[0]) }}
		return nil
	case form == "uniform" && len(n) == 2 && whole(n[0]) && whole(n[1]) && n[0] <= n[1]:
		*d = distribution{s, func(random *rand.Rand) int64 { return int64(n[0]) + random.Int64N(int64(n[1]-n[0])+1) }}
		return nil
	case form == "lognormal" && len(n) == 3 && n[0] >= 1 && n[1] <= maxSigma && whole(n[2]) && n[0] <= n[2]:
		*d = logNormal(n[0], n[1], n[2])
		d.text = s
		return nil
	}
	return fmt.Errorf("must be a whole number of tokens, such as 1500; uniform(MIN,MAX), such as uniform(100,2000); or lognormal(MEDIAN,SIGMA,MAX), such as lognormal(1500,0.8,8000), "+
		"with 1 <= MEDIAN <= MAX and SIGMA from 0 to %d; tokens are at most %d; not %q", maxSigma, int64(maxTokens), text)
}

// maxSigma is far beyond what tokens are like: a tenth of what is drawn is more than 300,000 times the median.
const maxSigma = 10

func logNormal(median, sigma, most float64) distribution {
	return distribution{fmt.Sprintf("lognormal(%g,%g,%g)", median, sigma, most), func(random *rand.Rand) int64 {
		return int64(min(most, max(1, median*math.Exp(sigma*random.NormFloat64()))))
	}}
}
