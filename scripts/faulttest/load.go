package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	perSecond  = 300
	holdTTL    = time.Minute // longer than any hold is kept, a clock set forward included
	settleTime = 20 * time.Second
)

// kind is what an ask was answered.
type kind uint8

const (
	granted kind = iota
	denied
	grantedHere // without the store
	deniedHere
	unavailable // 503
	other
	numKinds
)

// normal reports whether the store decided.
func (k kind) normal() bool { return k == granted || k == denied }

// answer is what one ask came to.
type answer struct {
	span
	provider, instance, key uint8
	kind                    kind
	model                   string
}

// held is a hold, from when its client knew of it until the client sent that it is over.
type held struct {
	span
	provider uint8
	here     bool // granted without the store
	status   int  // of settling it; 404: nobody knows of it any more
}

// load asks instances in turn, at a steady pace whatever they answer, and settles the holds that it gets.
type load struct {
	instances []*instance
	providers [numProviders]string

	mu      sync.Mutex
	random  *rand.Rand
	era     int // how often data was lost: models are others then
	answers []answer
	holds   []held
	strange map[string]int // other answers
}

func newLoad(instances []*instance, providers [numProviders]string, seed uint64) *load {
	return &load{instances: instances, providers: providers, random: rand.New(rand.NewPCG(seed, 0)), strange: map[string]int{}}
}

// run asks until the context ends, and returns when all is answered and settled.
func (l *load) run(ctx context.Context) {
	var asks sync.WaitGroup
	begin := time.Now()
	for n := 0; ; n++ {
		due := begin.Add(time.Duration(n) * time.Second / perSecond)
		select {
		case <-ctx.Done():
			asks.Wait()
			return
		case <-time.After(time.Until(due)):
			asks.Go(func() { l.ask(n) })
		}
	}
}

// draw chooses what the n-th ask is for.
func (l *load) draw(n int) (a answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a.instance = uint8(n % len(l.instances))
	if p := l.random.IntN(20) - 8; p > 2 { // more than half are for the first
		a.provider = uint8(p / 3)
	}
	a.key = uint8(l.random.IntN(numKeys))
	if l.random.IntN(3) == 0 {
		a.key = 0 // asks more than its own limit allows
	}
	a.model = modelPlain
	switch l.random.IntN(10) {
	case 0:
		a.model = modelFew
	case 1, 2:
		a.model = modelHeld
	}
	a.model = l.model(a.model)
	return a
}

// model is the name of a kind of models, since data was last lost.
func (l *load) model(kind string) string { return fmt.Sprintf("%s-%d", kind, l.era) }

func keyName(key uint8) string { return fmt.Sprintf("sk-faults-%d", key) }

// decision is what is read of an answer.
type decision struct {
	Degraded bool   `json:"degraded"`
	PermitID string `json:"permit_id"`
	Revision int64  `json:"revision"`
	Limits   []struct {
		Name   string `json:"name"`
		Amount int64  `json:"amount"`
	} `json:"limits"`
}

// ask asks once. Answers are waited for even when the load has ended.
func (l *load) ask(n int) {
	a := l.draw(n)
	body := fmt.Sprintf(`{"provider":%q,"key":%q,"model":%q`, l.providers[a.provider], keyName(a.key), a.model)
	if a.model[:4] == modelHeld {
		body += fmt.Sprintf(`,"hold":true,"ttl_ms":%d`, holdTTL.Milliseconds())
	}
	sent := time.Now()
	status, text, err := l.instances[a.instance].call(context.Background(), http.MethodPost, "/v1/permits", body+"}")
	received := time.Now()
	a.span = span{micros(sent), micros(received)}
	var d decision
	if err == nil && status != http.StatusServiceUnavailable {
		err = json.Unmarshal(text, &d)
	}
	a.kind = kindOf(status, err, d.Degraded)
	l.mu.Lock()
	l.answers = append(l.answers, a)
	if a.kind == other {
		l.strange[fmt.Sprintf("%d %.200s %v", status, text, err)]++
	}
	wait := 200*time.Millisecond + time.Duration(l.random.Int64N(int64(600*time.Millisecond)))
	l.mu.Unlock()
	if d.PermitID != "" {
		time.Sleep(wait)
		l.settle(n, held{span: span{from: a.to}, provider: a.provider, here: d.Degraded}, d.PermitID)
	}
}

func kindOf(status int, err error, degraded bool) kind {
	k := other
	switch {
	case err != nil:
	case status == http.StatusOK:
		k = granted
	case status == http.StatusTooManyRequests:
		k = denied
	case status == http.StatusServiceUnavailable:
		return unavailable
	}
	if degraded && k != other {
		k += grantedHere - granted
	}
	return k
}

// settle settles a hold at its cost, at whatever instance can.
func (l *load) settle(n int, h held, permitID string) {
	h.to = micros(time.Now())
	pause := 50 * time.Millisecond
	for begin := time.Now(); time.Since(begin) < settleTime; time.Sleep(pause) {
		n++
		status, _, err := l.instances[n%len(l.instances)].call(context.Background(), http.MethodPost, "/v1/permits/"+permitID+"/settle", `{"cost":{}}`)
		if err == nil {
			h.status = status
		}
		if h.status == http.StatusOK || h.status == http.StatusNotFound {
			break
		}
		pause = min(2*pause, time.Second)
	}
	l.mu.Lock()
	l.holds = append(l.holds, h)
	l.mu.Unlock()
}

// nextEra has asks be for other models from now on, since the store has forgotten what was charged for those.
func (l *load) nextEra() {
	l.mu.Lock()
	l.era++
	l.mu.Unlock()
}

// lastAbnormal is when the last ask was sent that the store did not decide, or 0.
func (l *load) lastAbnormal() (at int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.answers {
		if a := &l.answers[i]; !a.kind.normal() {
			at = max(at, a.from)
		}
	}
	return at
}

// readDecision reads an answer that has one.
func readDecision(status int, text []byte, into *decision) error {
	if status != http.StatusOK && status != http.StatusTooManyRequests {
		return fmt.Errorf("answered %d: %.200s", status, text)
	}
	return json.Unmarshal(text, into)
}

// amount is that of a limit which applied, or 0.
func (d *decision) amount(limit string) int64 {
	for _, l := range d.Limits {
		if l.Name == limit {
			return l.Amount
		}
	}
	return 0
}
