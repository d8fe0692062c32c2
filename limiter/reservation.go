package limiter

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/permitd/permitd/limiter/internal/pack"
)

// reservation is the body of a hold: what settling has to know of the ask and of the limits as they were.
type reservation struct {
	KeyID string
	Pool  string
	Once  string
	Cost  Costs
	Lines []reservedLine
	// Ignored are the units that it was settled to and no line counts.
	Ignored []string
}

type reservedLine struct {
	Limit          string
	Counter        string
	Scope          Scope
	Subject, Model string
	Cost           int64
	Counts         Weights
	Reserve        Weights
}

// reservation is what a charge reserves.
func (a *attempt) reservation() reservation {
	r := reservation{KeyID: a.charge.KeyID, Pool: a.charge.Pool, Cost: a.ask.Cost}
	if a.ask.IdempotencyKey != "" {
		r.Once = a.ask.onceID()
	}
	r.Lines = make([]reservedLine, len(a.charge.Lines))
	for i := range a.charge.Lines {
		l := &a.charge.Lines[i]
		limit := l.Terms.Limit
		r.Lines[i] = reservedLine{limit.Name, l.Terms.Counter, limit.Scope, l.Subject, l.Model, l.Cost, limit.Counts, limit.ReserveCounts}
	}
	return r
}

// ignoredBy are the units of a settlement that no line counts.
func (r *reservation) ignoredBy(actual Costs) (units []string) {
	for _, c := range actual {
		if !slices.ContainsFunc(r.Lines, func(l reservedLine) bool { return l.counts(c.Unit) }) {
			units = append(units, c.Unit)
		}
	}
	return units
}

// counts reports whether a unit was weighed when the line was reserved, or is when it is settled.
func (l *reservedLine) counts(unit string) bool { return l.Counts.names(unit) || l.Reserve.names(unit) }

// closed is what a line should have cost if its hold becomes so, given what the ask named and what the call really took: when it
// is settled, of units that are not named what was reserved stays.
func (l *reservedLine) closed(status HoldStatus, asked, actual Costs) int64 {
	switch status {
	case HoldOpen:
		return l.Cost
	case HoldCancelled:
		return 0
	}
	named, total := false, int64(0)
	for _, c := range actual {
		if l.counts(c.Unit) {
			named = true
			total = addUnits(total, mulUnits(c.Amount, l.Counts.of(c.Unit)))
		}
	}
	if !named {
		return l.Cost
	}
	for _, k := range l.Reserve {
		n, asks := asked.of(k.Unit)
		if !asks && k.Unit == DefaultUnit {
			n = 1
		}
		if _, settles := actual.of(k.Unit); !settles {
			total = addUnits(total, mulUnits(n, k.Weight))
		}
	}
	return total
}

// hold asks for a record of the reservation.
func (r *reservation) hold(ttl, keep time.Duration) *NewHold {
	body, shared := r.body()
	return &NewHold{TTL: ttl, Keep: keep, Body: body, Shared: shared}
}

// body is a reservation as a store keeps it, and how much of its beginning is the same for all of the same limits.
func (r *reservation) body() (body []byte, shared int) {
	w := &pack.Writer{Bytes: make([]byte, 0, 64*len(r.Lines)+128)}
	w.Int(int64(len(r.Lines)))
	for i := range r.Lines {
		l := &r.Lines[i]
		w.Text(l.Limit)
		writeCounter(w, l.Limit, l.Counter)
		w.Word(string(l.Scope))
		writeWeights(w, l.Counts)
		differs := !slices.Equal(l.Counts, l.Reserve)
		if w.Bool(differs); differs {
			writeWeights(w, l.Reserve)
		}
	}
	shared = len(w.Bytes)
	w.Word(r.KeyID)
	w.Word(r.Pool)
	w.Word(r.Once)
	w.Int(int64(len(r.Cost)))
	for _, c := range r.Cost {
		w.Word(c.Unit)
		w.Int(c.Amount)
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		w.Word(l.Subject)
		w.Word(l.Model)
		w.Int(l.Cost)
	}
	writeWords(w, r.Ignored)
	return w.Bytes, shared
}

func readReservation(body []byte) (r reservation, err error) {
	in := pack.Read(string(body))
	r.Lines = make([]reservedLine, in.Len())
	for i := range r.Lines {
		l := &r.Lines[i]
		l.Limit = in.Text()
		l.Counter = readCounter(in, l.Limit)
		l.Scope = Scope(in.Word())
		l.Counts = readWeights(in)
		if l.Reserve = l.Counts; in.Bool() {
			l.Reserve = readWeights(in)
		}
	}
	r.KeyID, r.Pool, r.Once = in.Word(), in.Word(), in.Word()
	r.Cost = make(Costs, in.Len())
	for i := range r.Cost {
		r.Cost[i] = Cost{in.Word(), in.Int()}
	}
	for i := range r.Lines {
		l := &r.Lines[i]
		l.Subject, l.Model, l.Cost = in.Word(), in.Word(), in.Int()
	}
	r.Ignored = readWords(in)
	if in.Bad() {
		err = fmt.Errorf("%w: a stored hold can't be read", ErrStoreUnavailable)
	}
	return r, err
}

// writeCounter writes the name of a counter without the name of its limit, which is nearly always part of it.
func writeCounter(w *pack.Writer, limit, counter string) {
	generation, period, ok := strings.Cut(counter, "/"+limit+"@")
	if w.Bool(ok); !ok {
		generation = counter
	}
	w.Word(generation)
	w.Word(period)
}

func readCounter(r *pack.Reader, limit string) string {
	whole := !r.Bool()
	generation, period := r.Word(), r.Word()
	if whole {
		return generation
	}
	return generation + "/" + limit + "@" + period
}

func writeWords(w *pack.Writer, words []string) {
	w.Int(int64(len(words)))
	for _, s := range words {
		w.Word(s)
	}
}

func readWords(r *pack.Reader) (words []string) {
	for range r.Len() {
		words = append(words, r.Word())
	}
	return words
}

func writeWeights(w *pack.Writer, weights Weights) {
	w.Int(int64(len(weights)))
	for _, k := range weights {
		w.Word(k.Unit)
		w.Int(k.Weight)
	}
}

func readWeights(r *pack.Reader) Weights {
	weights := make(Weights, r.Len())
	for i := range weights {
		weights[i] = Weight{r.Word(), r.Int()}
	}
	return weights
}
