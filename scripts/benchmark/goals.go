package main

// goal is what a figure of a contender, or its ratio to that of another, should be.
type goal struct {
	what    string
	figure  func(sample) float64
	of, by  string // contenders; by "" is no ratio
	atLeast bool   // else at most
	bound   float64
}

var goals = []goal{
	{"permits over HTTP, decided in Redis / bare Echo", perSecond, webRedis, webBare, true, 0.5},
	{"permits over HTTP, embedded store / bare Echo", perSecond, webMemory, webBare, true, 0.85},
	{"denials over HTTP / bare Echo", perSecond, webDenied, webBare, true, 0.85},
	{"decide, 64 callers / two redis_rate calls", perSecond, decide64, twoRates, true, 8},
	{"acquire, 64 callers / two redis_rate calls", perSecond, acquire64, twoRates, true, 8},
	{"acquire, 256 callers / two redis_rate calls", perSecond, acquire256, twoRates, true, 8},
	{"decide, 64 callers: Redis µs", redisMicros, decide64, "", false, 5},
	{"acquire, 64 callers: Redis µs", redisMicros, acquire64, "", false, 5},
	{"acquire, 256 callers: Redis µs", redisMicros, acquire256, "", false, 5},
	{"batch endpoint: permits/s", perSecond, webBatch, "", true, 150_000},
	{"embedded decision: ns", nanos, memoryDecide, "", false, 300},
	{"embedded decision: allocations", allocs, memoryDecide, "", false, 0.01}, // the runtime's own are counted too
	{"lone decide / bare EVALSHA: p50", p50, loneDecide, loneScript, false, 1.5},
	{"lone decide / bare EVALSHA: p99", p99, loneDecide, loneScript, false, 2},
	{"lone permit over HTTP / Echo with EVALSHA: p50", p50, webLone, webLoneScript, false, 1.15},
	{"lone permit over HTTP / Echo with EVALSHA: p99", p99, webLone, webLoneScript, false, 1.5},
}

// mark is how a goal was met.
type mark struct {
	What     string    `json:"what"`
	Measured float64   `json:"measured"`
	AtLeast  *float64  `json:"at_least,omitempty"`
	AtMost   *float64  `json:"at_most,omitempty"`
	Met      bool      `json:"met"`
	Rounds   []float64 `json:"rounds"`
}

// judge holds a goal against what was measured; ok is false where a contender is missing.
func (g *goal) judge(all []*contender) (m mark, ok bool) {
	of, by := find(all, g.of), find(all, g.by)
	if of == nil || g.by != "" && by == nil {
		return mark{}, false
	}
	m.What = g.what
	for i, s := range of.rounds {
		v := g.figure(s)
		if by != nil {
			v /= g.figure(by.rounds[i])
		}
		m.Rounds = append(m.Rounds, v)
	}
	m.Measured = middle(m.Rounds)
	if g.atLeast {
		m.AtLeast, m.Met = &g.bound, m.Measured >= g.bound
	} else {
		m.AtMost, m.Met = &g.bound, m.Measured <= g.bound
	}
	return m, true
}

func find(all []*contender, name string) *contender {
	for _, c := range all {
		if c.name == name {
			return c
		}
	}
	return nil
}
