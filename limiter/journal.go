package limiter

import (
	"slices"
	"sync"
	"unsafe"

	"github.com/permitd/permitd/limiter/internal/size"
)

// journal is what was granted in an outage and has not been charged where all instances see it. What it keeps counts in memory
// with the debts that it will become, so that handing over needs no more.
type journal struct {
	memory *Memory
	mu     sync.Mutex
	page
}

// page is what was written down in a journal since it was last taken.
type page struct {
	counters map[tallied]*charged
	holds    map[string]noted // by permit id: that were not closed
	once     map[string]noted // by onceID: of grants without a hold
}

// tallied is a counter that was charged, as it is called here.
type tallied struct{ counter, subject, model string }

func (l *reservedLine) tallied() tallied { return tallied{localCounter(l.Counter), l.Subject, l.Model} }

// charged is how much was charged to a counter, and how to come by it: an ask's key and pool, and the line.
type charged struct {
	keyID, pool string
	line        reservedLine
	units       int64
}

// noted is an ask that was granted, which of its lines took slots, in bits, and the bytes that are taken for it.
type noted struct {
	ask   *Ask
	slots uint64
	bytes int64
}

// bytes is what a counter takes that was charged, or the debt that it becomes.
func (c *charged) bytes() int64 {
	return size.Alloc(int(unsafe.Sizeof(*c))) + size.MapEntry(int(unsafe.Sizeof(tallied{})+unsafe.Sizeof(c))) +
		size.Text(c.line.Subject) + size.Text(c.line.Model) + size.Text(c.keyID) + size.Text(c.pool)
}

// notedBytes is what is taken for an ask: its place in the journal, and the debt that it becomes.
func notedBytes(a *Ask, id string, r *reservation) int64 {
	_, bytes := newDebt(r)
	return bytes + a.bytes() + size.Text(id) + size.MapEntry(int(unsafe.Sizeof("")+unsafe.Sizeof(noted{})))
}

// bytes is what an ask takes that is kept.
func (a *Ask) bytes() int64 {
	n := size.Alloc(int(unsafe.Sizeof(*a))) + a.Cost.bytes()
	for _, s := range []string{a.Provider, a.KeyID, a.Model, a.IdempotencyKey, a.Caller} {
		n += size.Text(s)
	}
	return n
}

func (c Costs) bytes() int64 {
	n := size.Alloc(len(c) * int(unsafe.Sizeof(Cost{})))
	for _, k := range c {
		n += size.Text(k.Unit)
	}
	return n
}

// room takes the bytes that noting a charge may need, and returns how many those are. They are given back when that is done.
func (j *journal) room(a *attempt, r *reservation) (bytes int64, ok bool) {
	if a.ask.DryRun {
		return 0, true
	}
	j.mu.Lock()
	for i := range r.Lines {
		l := &r.Lines[i]
		if j.counters[l.tallied()] == nil && a.tallies(l, i) {
			bytes += (&charged{r.KeyID, r.Pool, *l, 0}).bytes()
		}
	}
	j.mu.Unlock()
	if a.charge.Hold != nil || a.charge.Once != nil {
		bytes += notedBytes(a.ask, a.charge.PermitID, r)
	}
	return bytes, j.memory.Take(bytes)
}

// tallies reports whether a line is of a counter that has to be charged elsewhere too.
func (a *attempt) tallies(l *reservedLine, i int) bool {
	return l.Cost > 0 && a.charge.Lines[i].Terms.Limit.Kind != KindConcurrency
}

// slots are the lines that take slots, in bits.
func (a *attempt) slots() (lines uint64) {
	for i := range a.charge.Lines {
		if a.charge.Lines[i].takesSlots() {
			lines |= 1 << i
		}
	}
	return lines
}

// note writes down what was granted.
func (j *journal) note(a *attempt, r *reservation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counters == nil {
		j.page = page{map[tallied]*charged{}, map[string]noted{}, map[string]noted{}}
	}
	for i := range r.Lines {
		if l := &r.Lines[i]; a.tallies(l, i) {
			j.memory.Add(j.add(r, l, l.Cost))
		}
	}
	in, id := j.holds, a.charge.PermitID
	if a.charge.Hold == nil {
		if a.charge.Once == nil {
			return
		}
		in, id = j.once, a.charge.Once.ID
	}
	ask := *a.ask
	ask.Cost = slices.Clone(ask.Cost)
	in[id] = noted{&ask, a.slots(), notedBytes(&ask, id, r)}
	j.memory.Add(in[id].bytes)
}

// add charges units more, or less, to a counter, and returns the bytes that takes.
func (p *page) add(r *reservation, l *reservedLine, units int64) (bytes int64) {
	at := l.tallied()
	ct := p.counters[at]
	if ct == nil {
		ct = &charged{keyID: r.KeyID, pool: r.Pool, line: *l}
		p.counters[at] = ct
		bytes = ct.bytes()
	}
	ct.units += units
	return bytes
}

// closing takes in what closing a hold here did to its counters, and returns the bytes that takes.
func (p *page) closing(h *Hold, r *reservation) (bytes int64) {
	for i := range r.Lines {
		if n := h.Changes[i].Adjusted; n != 0 {
			bytes += p.add(r, &r.Lines[i], n)
		}
	}
	return bytes
}

// take is what was written down since it was last taken.
func (j *journal) take() page {
	j.mu.Lock()
	defer j.mu.Unlock()
	p := j.page
	j.page = page{}
	return p
}

// has reports whether a hold was granted here, and was not closed or taken.
func (j *journal) has(permitID string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.holds[permitID].ask != nil
}

// closed says that a hold was closed here that the journal has.
func (j *journal) closed(permitID string, h *Hold, r *reservation) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.memory.Add(j.closing(h, r) - j.holds[permitID].bytes)
	delete(j.holds, permitID)
}
