package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter"
)

// stages are how many requests a second are asked over time, such as 10s:50,20s:50-400: 50 a second for ten seconds, then
// ever more until there are 400 a second twenty seconds later.
type stages []stage

// stage goes evenly from one rate to another, in requests per second.
type stage struct {
	lasts    time.Duration
	from, to float64
}

// Bounds of a load, which is drawn before it begins.
const (
	maxRequests = 5_000_000
	maxLasts    = 7 * 24 * time.Hour
)

var rateForm = regexp.MustCompile(`^([0-9]+(?:\.[0-9]+)?)(?:-([0-9]+(?:\.[0-9]+)?))?$`)

// UnmarshalText reads stages from the command line: DURATION:RATE or DURATION:FROM-TO, separated by commas.
func (s *stages) UnmarshalText(text []byte) error {
	*s = nil
	for _, one := range strings.Split(string(text), ",") {
		lasts, rates, _ := strings.Cut(strings.TrimSpace(one), ":")
		d, err := time.ParseDuration(lasts)
		m := rateForm.FindStringSubmatch(rates)
		if err != nil || d <= 0 || m == nil {
			return fmt.Errorf("must be DURATION:RATE or DURATION:FROM-TO, separated by commas, in requests per second, such as 10s:50,20s:50-400,3s:1500,10s:0.5, not %q", one)
		}
		st := stage{lasts: d}
		st.from, _ = strconv.ParseFloat(m[1], 64) // can only be too large, and is Inf then
		if st.to = st.from; m[2] != "" {
			st.to, _ = strconv.ParseFloat(m[2], 64)
		}
		*s = append(*s, st)
		switch total := s.requests(); {
		case d > maxLasts || s.lasts() > maxLasts:
			return fmt.Errorf("must last %s at most, not %q", limiter.FormatDuration(maxLasts), text)
		case total > maxRequests:
			return fmt.Errorf("must ask for at most %d requests, which are drawn before the run begins; %q asks for %.3g", maxRequests, text, total)
		}
	}
	if s.requests() < 1 {
		return fmt.Errorf("must ask for at least one request, and %q asks for %.3g", text, s.requests())
	}
	return nil
}

func (s stages) String() string {
	var list []string
	for _, st := range s {
		one := fmt.Sprintf("%s:%s", limiter.FormatDuration(st.lasts), strconv.FormatFloat(st.from, 'f', -1, 64))
		if st.to != st.from {
			one += "-" + strconv.FormatFloat(st.to, 'f', -1, 64)
		}
		list = append(list, one)
	}
	return strings.Join(list, ",")
}

// lasts is how long all stages take.
func (s stages) lasts() (sum time.Duration) {
	for _, st := range s {
		sum += st.lasts
	}
	return sum
}

// requests is how many all stages ask for, on average.
func (s stages) requests() (sum float64) {
	for _, st := range s {
		sum += st.requests()
	}
	return sum
}

func (st stage) requests() float64 { return (st.from + st.to) / 2 * st.lasts.Seconds() }

// after is when a stage has asked for n requests, of those that it asks for.
//
// That is the time t at which from·t + slope·t²/2 = n, in the form that also holds where the slope is 0.
func (st stage) after(n float64) time.Duration {
	if n <= 0 {
		return 0
	}
	slope := (st.to - st.from) / st.lasts.Seconds()
	t := 2 * n / (st.from + math.Sqrt(max(0, st.from*st.from+2*slope*n)))
	return min(st.lasts, time.Duration(t*float64(time.Second)))
}

// arrivals are the times of requests. Without random they are even: the next one comes when one more has been asked for,
// beginning at once. With it they are a Poisson process of that rate, as of many callers who don't know of one another.
func (s stages) arrivals(random *rand.Rand) []time.Duration {
	gap := func() float64 { return 1 }
	n := 0.0 // have been asked for, from the start of the stage
	if random != nil {
		gap = random.ExpFloat64
		n = gap()
	}
	var times []time.Duration
	begins := time.Duration(0)
	for _, st := range s {
		all := st.requests()
		for ; n < all; n += gap() {
			times = append(times, begins+st.after(n))
		}
		n -= all
		begins += st.lasts
	}
	return times
}
