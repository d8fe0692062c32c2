package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

func TestDistributions(t *testing.T) {
	for _, tt := range []struct {
		text        string
		mean        float64 // within 2 %
		median      float64 // within 2 %
		least, most int64   // of what is drawn; both are drawn where they are likely
	}{
		{"1500", 1500, 1500, 1500, 1500},
		{"0", 0, 0, 0, 0},
		{"uniform(100,300)", 200, 200, 100, 300},
		{"uniform( 7, 7 )", 7, 7, 7, 7},
		{"lognormal(1500,0.8,1000000)", 1500 * math.Exp(0.32), 1500, 1, 1_000_000},
		{"lognormal(1500,0.8,1500)", 0, 1500, 1, 1500},
		{"lognormal(60,0,1000)", 60, 60, 60, 60},
	} {
		var d distribution
		if err := d.UnmarshalText([]byte(tt.text)); err != nil {
			t.Errorf("%s: %v", tt.text, err)
			continue
		}
		draw := func(seed uint64) []int64 {
			random := rand.New(rand.NewPCG(seed, 0))
			list := make([]int64, 50_000)
			for i := range list {
				list[i] = d.draw(random)
			}
			return list
		}
		drawn := draw(1)
		if !slices.Equal(drawn, draw(1)) {
			t.Errorf("%s: the same seed draws others", tt.text)
		}
		var sum float64
		for _, n := range drawn {
			sum += float64(n)
		}
		mean := sum / float64(len(drawn))
		slices.Sort(drawn)
		least, median, most := drawn[0], float64(drawn[len(drawn)/2]), drawn[len(drawn)-1]
		if tt.mean > 0 && math.Abs(mean/tt.mean-1) > 0.02 || math.Abs(median-tt.median) > 0.02*tt.median {
			t.Errorf("%s has the mean %g and the median %g, want %g and %g", tt.text, mean, median, tt.mean, tt.median)
		}
		if least < tt.least || most > tt.most {
			t.Errorf("%s is from %d to %d", tt.text, least, most)
		}
		if strings.HasPrefix(tt.text, "uniform") && (least != tt.least || most != tt.most) {
			t.Errorf("%s never is %d or %d", tt.text, tt.least, tt.most)
		}
	}
}

func TestDistributionFaults(t *testing.T) {
	for _, text := range []string{"", "x", "1.5", "-1", "nan", "inf", "1e12", "1,2", "uniform", "uniform()", "uniform(1)", "uniform(2,1)", "uniform(1.5,2)", "uniform(1,2",
		"normal(1,2)", "lognormal(1,2)", "lognormal(0,1,10)", "lognormal(20,1,10)", "lognormal(5,11,10)", "lognormal(5,-1,10)", "uniform(1,2,3)"} {
		var d distribution
		if err := d.UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "uniform(MIN,MAX)") || !strings.Contains(err.Error(), "lognormal(MEDIAN,SIGMA,MAX)") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestWeightedNames(t *testing.T) {
	var list []weighted
	for _, text := range []string{"a=3", " b ", "acme/m=1:free=0.5"} {
		var w weighted
		if err := w.UnmarshalText([]byte(text)); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		list = append(list, w)
	}
	if list[2].name != "acme/m=1:free" || list[1] != (weighted{"b", 1}) || list[0].String() != "a=3" {
		t.Errorf("%v", list)
	}
	random := rand.New(rand.NewPCG(1, 1))
	times := map[string]float64{}
	for range 45_000 {
		times[pick(list, random)]++
	}
	for _, w := range list {
		if want := w.weight * 10_000; math.Abs(times[w.name]-want) > 0.05*want {
			t.Errorf("%s was drawn %g times, want about %g", w, times[w.name], want)
		}
	}
	if got := pick(nil, random); got != "" {
		t.Errorf("of nothing %q is drawn", got)
	}
	for _, text := range []string{"", " ", "=1", "a=", "a=0", "a=-1", "a=x", "a=nan", "a=inf"} {
		if err := new(weighted).UnmarshalText([]byte(text)); err == nil || !strings.Contains(err.Error(), "such as gpt-4o=3") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
