package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func parseStages(t *testing.T, text string) stages {
	t.Helper()
	var s stages
	if err := s.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return s
}

// between counts the times from one on and before another.
func between(times []time.Duration, from, to time.Duration) (n int) {
	for _, at := range times {
		if at >= from && at < to {
			n++
		}
	}
	return n
}

func TestEvenArrivals(t *testing.T) {
	s := parseStages(t, "10s:50,20s:50-400,5s:0,3s:1500,10s:40-0,4s:0.5")
	times := s.arrivals(nil)
	if s.lasts() != 52*time.Second || s.requests() != 500+4500+0+4500+200+2 || len(times) != 9702 {
		t.Fatalf("%s, %g requests, %d drawn", s.lasts(), s.requests(), len(times))
	}
	for _, tt := range []struct {
		from, to time.Duration
		want     int
	}{
		{0, 10, 500}, {0, 1, 50},
		{10, 30, 4500}, {10, 20, 1375}, // the rate is 225 in the middle: (50+225)/2·10
		{30, 35, 0},
		{35, 38, 4500}, {36, 37, 1500},
		{38, 48, 200}, {38, 43, 150}, // (40+20)/2·5
		{48, 52, 2}, {48, 50, 1},
	} {
		if n := between(times, tt.from*time.Second, tt.to*time.Second); n != tt.want {
			t.Errorf("from %d s to %d s there are %d, want %d", tt.from, tt.to, n, tt.want)
		}
	}
	if times[0] != 0 || times[1] != 20*time.Millisecond || times[499] != 9980*time.Millisecond {
		t.Errorf("%s, %s, %s", times[0], times[1], times[499])
	}
	if !slices.IsSorted(times) {
		t.Error("they are not in the order of time")
	}
	// What one stage has begun to ask for is asked for in the next.
	if got := fmt.Sprint(parseStages(t, "1s:1.5,2s:0.75").arrivals(nil)); got != "[0s 666.666666ms 1.666666666s]" {
		t.Error(got)
	}
}

// Counts of a Poisson process are within five standard deviations, and its gaps vary as much as their mean.
func TestPoissonArrivals(t *testing.T) {
	s := parseStages(t, "10s:200,10s:200-1000,10s:0,10s:300-100")
	draw := func(seed uint64) []time.Duration { return s.arrivals(rand.New(rand.NewPCG(seed, 0))) }
	times := draw(1)
	for _, tt := range []struct {
		from, to time.Duration
		want     float64
	}{{0, 10, 2000}, {10, 15, 2000}, {15, 20, 4000}, {20, 30, 0}, {30, 35, 1250}, {35, 40, 750}} {
		n := between(times, tt.from*time.Second, tt.to*time.Second)
		if off := math.Abs(float64(n) - tt.want); off > 5*math.Sqrt(tt.want) {
			t.Errorf("from %d s to %d s there are %d, want about %g", tt.from, tt.to, n, tt.want)
		}
	}
	var sum, squares, n float64
	for i := 1; times[i] < 10*time.Second; i++ {
		gap := (times[i] - times[i-1]).Seconds()
		sum, squares, n = sum+gap, squares+gap*gap, n+1
	}
	mean := sum / n
	if deviation := math.Sqrt(squares/n - mean*mean); math.Abs(deviation/mean-1) > 0.1 {
		t.Errorf("gaps have the mean %g and the deviation %g, want about the same", mean, deviation)
	}
	if !slices.Equal(times, draw(1)) || slices.Equal(times, draw(2)) {
		t.Error("the same seed draws the same times, and another others")
	}
	if times[0] == 0 || !slices.IsSorted(times) || times[len(times)-1] > s.lasts() {
		t.Error("they are not in the order of time, or come too soon or late")
	}
}

func TestStagesAsText(t *testing.T) {
	const text = "10s:50,1m30s:0.25-400,500ms:0"
	if got := parseStages(t, " 10s:50, 90s:0.25-400,500ms:0-0").String(); got != text {
		t.Errorf("%s, want %s", got, text)
	}
	for bad, want := range map[string]string{
		"":                               "must be DURATION:RATE or DURATION:FROM-TO",
		"10s":                            "must be DURATION:RATE or DURATION:FROM-TO",
		"10s:50,":                        "such as 10s:50,20s:50-400",
		"10:50":                          `not "10:50"`,
		"-1s:50":                         `not "-1s:50"`,
		"0s:50":                          "must be DURATION",
		"10s:-50":                        "must be DURATION",
		"10s:50-":                        "must be DURATION",
		"10s:1e3":                        "must be DURATION",
		"10s:5-6-7":                      "must be DURATION",
		"1m:100000":                      `at most 5000000 requests, which are drawn before the run begins; "1m:100000" asks for 6e+06`,
		"200h:1":                         "must last 7d at most",
		"100h:0,100h:1":                  "must last 7d at most",
		"2000000h:1,1s:1":                "must last 7d at most",
		"1s:" + strings.Repeat("9", 400): "must ask for at most",
		"10s:0":                          "at least one request",
		"1s:0.5":                         `"1s:0.5" asks for 0.5`,
	} {
		var s stages
		if err := s.UnmarshalText([]byte(bad)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
