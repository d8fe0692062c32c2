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

// Tokens of a request, of a synthetic trace and unless a load is drawn by others.
var (
	usualContext   = logNormal(1500, 0.8, 8000)
	usualGenerated = logNormal(60, 1, 1000)
)

// syntheticTrace is twenty minutes of LLM requests without keys, always the same for a seed: traffic that swells and ebbs
// every five minutes, a burst of four times as much for twenty seconds every two minutes, prompts of log-normal length.
func syntheticTrace(seed uint64) *trace {
	random := rand.New(rand.NewPCG(seed, 0x74726163)) // a stream of its own
	t := &trace{name: "synthetic"}
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
			Context:   usualContext.draw(random),
			Generated: usualGenerated.draw(random),
		})
	}
	first := t.rows[0].At
	for i := range t.rows {
		t.rows[i].At -= first
	}
	return t
}
