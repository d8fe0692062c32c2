package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// What the synthetic trace is like.
const (
	syntheticSpan = 20 * time.Minute
	syntheticRate = 4.0 // requests per second, on average outside of bursts
)

// syntheticTrace is twenty minutes of LLM requests without keys, always the same for a seed: traffic that swells and ebbs
// every five minutes, a burst of four times as much for twenty seconds every two minutes, prompts of log-normal length.
func syntheticTrace(seed uint64) *trace {
	random := rand.New(rand.NewPCG(seed, 0x74726163)) // a stream of its own
	t := &trace{}
	for at := 0.0; ; {
		rate := syntheticRate * (1 + 0.5*math.Sin(2*math.Pi*at/300))
		if math.Mod(at, 120) >= 100 {
			rate *= 4
		}
		at += random.ExpFloat64() / rate
		if at >= syntheticSpan.Seconds() {
			break
		}
		t.rows = append(t.rows, row{
			At:        time.Duration(at * float64(time.Second)),
			Context:   logNormal(random, 1500, 0.8, 8000),
			Generated: logNormal(random, 60, 1, 1000),
		})
	}
	first := t.rows[0].At
	for i := range t.rows {
		t.rows[i].At -= first
	}
	return t
}

// logNormal draws a number from 1 to most around a median.
func logNormal(random *rand.Rand, median, sigma, most float64) int64 {
	return int64(min(most, max(1, median*math.Exp(sigma*random.NormFloat64()))))
}
