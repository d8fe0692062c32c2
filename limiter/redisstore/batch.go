package redisstore

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"

	"github.com/permitd/permitd/limiter"
)

// A script call has at most so many asks, keys and lines, since Redis does nothing else meanwhile, and so many numbers,
// since Lua takes no more than 8000 at once.
const (
	maxAsks    = 128
	maxKeys    = 1000
	maxLines   = 512
	maxNumbers = 7000
)

// batch is one script call: the asks of one provider in the form that lua/args.lua and lua/acquire.lua read. What asks
// have in common (documents, terms, counters) is sent once. A lane fills the same batch again and again.
type batch struct {
	names keys
	of    string // what the provider's keys begin with
	asks  []*ask
	lines int // of all asks

	entries    map[limiter.DocID]int
	stamps     map[stamp]int
	terms      map[termsID]int
	counters   map[counterID]int
	entryKeys  []string
	counterKey []string
	onceKeys   []string
	holdKeys   []string
	bodies     []any  // of holds
	grants     []any  // what is to be remembered of those that are granted once
	closing    bool   // counters may go as far as settling takes them
	newcomers  []byte // a random seed and names, for lua/names.lua

	stampPart, termsPart, holdPart, oncePart, askPart packed
	schedules                                         []byte
	in, out                                           packed // as sent: all parts, and the format of the answer
}

// packed is binary data beside the format by which Lua's struct reads it.
type packed struct{ format, data []byte }

func (p *packed) reset() { p.format, p.data = p.format[:0], p.data[:0] }

func (p *packed) add(o packed) {
	p.format, p.data = append(p.format, o.format...), append(p.data, o.data...)
}

// stamp is a document (0 the policy, then the entries) and the tag it should have.
type stamp struct {
	doc int
	tag string
}

// termsID are terms in a window; the window is zero for a rate.
type termsID struct {
	*limiter.Terms
	limiter.Window
}

func newBatch(names keys, provider string) *batch {
	return &batch{
		names: names, of: names.of(provider),
		entries:  map[limiter.DocID]int{},
		stamps:   map[stamp]int{},
		terms:    map[termsID]int{},
		counters: map[counterID]int{},
	}
}

func (b *batch) reset() {
	clear(b.asks)
	clear(b.entries)
	clear(b.stamps)
	clear(b.terms)
	clear(b.counters)
	clear(b.bodies)
	clear(b.grants)
	b.asks, b.entryKeys, b.counterKey, b.lines = b.asks[:0], b.entryKeys[:0], b.counterKey[:0], 0
	b.holdKeys, b.bodies, b.onceKeys, b.grants = b.holdKeys[:0], b.bodies[:0], b.onceKeys[:0], b.grants[:0]
	for _, p := range []*packed{&b.stampPart, &b.termsPart, &b.holdPart, &b.oncePart, &b.askPart, &b.in, &b.out} {
		p.reset()
	}
	b.schedules, b.newcomers = b.schedules[:0], b.newcomers[:0]
}

// fits reports whether a call has room for an ask. An empty one has room for any.
func (b *batch) fits(a *ask) bool {
	asks, lines := len(b.asks)+1, b.lines+a.lines
	return asks == 1 || asks <= maxAsks && lines <= maxLines &&
		len(b.entryKeys)+len(b.counterKey)+len(b.holdKeys)+len(b.onceKeys)+2*a.lines+6 <= maxKeys &&
		10*asks+3*lines+2*(len(b.stamps)+3)+7*(len(b.terms)+a.lines)+8 <= maxNumbers &&
		asks+4*lines <= maxNumbers
}

// add encodes a charge.
func (b *batch) add(a *ask) {
	c := a.charge
	b.asks = append(b.asks, a)
	b.lines += len(c.Lines)
	p := b.askPart
	p.format = append(p.format, "HHHdBBB"...)
	p.data = append16(p.data, b.stamp(0, c.Stamps.Policy))
	p.data = append16(p.data, b.entryStamp(limiter.DocID{Provider: c.Provider, Kind: limiter.KeyEntry, Name: c.KeyID}, c.Stamps.Key))
	p.data = append16(p.data, b.entryStamp(limiter.DocID{Provider: c.Provider, Kind: limiter.PoolEntry, Name: c.Pool}, c.Stamps.Pool))
	p.data = append64(p.data, float64(c.NotAfter))
	p.data = append(p.data, b.mode(c), b.once(c), byte(len(c.Lines)))
	b.out.format = append(b.out.format, 'B')
	for i := range c.Lines {
		l := &c.Lines[i]
		p.format = append(p.format, "HHd"...)
		p.data = append16(p.data, b.term(l))
		p.data = append16(p.data, b.counter(l.Terms, counterID{l.Terms.Counter, l.Subject, l.Model}))
		p.data = append64(p.data, float64(scriptCost(l)))
		b.out.format = append(b.out.format, "I7I7I7B"...)
	}
	b.askPart = p
	for i := range c.Names {
		b.newcomer(c, &c.Names[i])
	}
}

// newcomer adds a name of the charge that was added last.
func (b *batch) newcomer(c *limiter.Charge, n *limiter.Name) {
	if len(b.newcomers) == 0 {
		b.newcomers = append(b.newcomers, make([]byte, 16)...)
		rand.Read(b.newcomers) // never fails
	}
	to := append(append16(b.newcomers, len(b.asks)), byte(n.Kind))
	to = append64(append64(append(to, n.Hash[:]...), float64(n.Most)), float64(n.Period.Microseconds()))
	to = append(to, flag(n.Charge), byte(bits.OnesCount64(n.Lines)))
	for rest := n.Lines; rest != 0; rest &= rest - 1 {
		l := &c.Lines[bits.TrailingZeros64(rest)]
		to = append16(to, b.counter(l.Terms, counterID{l.Terms.Counter, l.Subject, l.Model}))
	}
	b.newcomers = to
}

// mode tells a dry run from a charge, and one that makes a hold.
func (b *batch) mode(c *limiter.Charge) byte {
	if c.DryRun || c.Hold == nil {
		return flag(c.DryRun)
	}
	b.holdKeys = append(b.holdKeys, b.names.hold(b.of, c.PermitID))
	b.bodies = append(b.bodies, c.Hold.Body)
	b.holdPart.format = append(b.holdPart.format, "dd"...)
	b.holdPart.data = append64(b.holdPart.data, float64(c.Hold.TTL.Microseconds()))
	b.holdPart.data = append64(b.holdPart.data, float64(c.Hold.Keep.Milliseconds()))
	return byte(len(b.holdKeys) + 1)
}

// once numbers those that are to be granted once, from 1; 0 is any other.
func (b *batch) once(c *limiter.Charge) byte {
	if c.Once == nil {
		return 0
	}
	b.onceKeys = append(b.onceKeys, b.names.once(b.of, c.Once.ID))
	grant := ""
	if c.Once.Body != nil {
		grant = c.Once.Ask + string(c.Once.Body)
	}
	b.grants = append(b.grants, grant)
	b.oncePart.format = append(b.oncePart.format, 'd')
	b.oncePart.data = append64(b.oncePart.data, float64(c.Once.Keep.Milliseconds()))
	return byte(len(b.onceKeys))
}

// scriptCost returns a line's cost as lua/acquire.lua reads it: -1 is a cost of 0 that fits only while one unit would.
func scriptCost(l *limiter.Line) int64 {
	if l.Cost == 0 {
		return -l.Needs()
	}
	return l.Cost
}

// entryStamp is 0 where an ask has no such entry to be checked.
func (b *batch) entryStamp(id limiter.DocID, tag string) int {
	if id.Name == "" {
		return 0
	}
	n, ok := b.entries[id]
	if !ok {
		b.entryKeys = append(b.entryKeys, b.names.document(id))
		n = len(b.entryKeys)
		b.entries[id] = n
	}
	return b.stamp(n, tag)
}

func (b *batch) stamp(doc int, tag string) int {
	n, ok := b.stamps[stamp{doc, tag}]
	if !ok {
		n = len(b.stamps) + 1
		b.stamps[stamp{doc, tag}] = n
		b.stampPart.format = append(b.stampPart.format, "HBc0"...)
		b.stampPart.data = append16(b.stampPart.data, doc)
		b.stampPart.data = append(append(b.stampPart.data, byte(len(tag))), tag...)
	}
	return n
}

func (b *batch) counter(t *limiter.Terms, id counterID) int {
	n, ok := b.counters[id]
	if !ok {
		b.counterKey = append(b.counterKey, b.names.counter(b.of, id))
		n = len(b.counterKey)
		b.counters[id] = n
		if t.Limit.Kind == limiter.KindConcurrency {
			b.counterKey = append(b.counterKey, b.names.slots(b.of, id))
		}
	}
	return n
}

// kinds are the numbers by which scripts know kinds of limits.
var kinds = []limiter.Kind{limiter.KindRate, limiter.KindQuota, limiter.KindConcurrency}

func (b *batch) term(l *limiter.Line) int {
	id := termsID{l.Terms, limiter.Window{}}
	kind := slices.Index(kinds, l.Terms.Limit.Kind)
	if kind == 1 {
		id.Window = l.Window
	}
	n, ok := b.terms[id]
	if ok {
		return n
	}
	n = len(b.terms) + 1
	b.terms[id] = n
	p := b.termsPart
	p.format = append(p.format, "ddBBddd"...)
	most := l.Terms.Most()
	if b.closing {
		most = l.Terms.Overdraft()
	}
	p.data = append64(append64(p.data, float64(l.Terms.Limit.Burst)), float64(most))
	p.data = append(p.data, flag(l.Terms.Limit.Mode == limiter.Shadow), byte(kind))
	s := &l.Terms.Schedule
	if kind > 0 {
		p.data = append64(append64(append64(p.data, float64(id.Start)), float64(id.End)), float64(cmp.Or(id.NextEnd, math.MaxInt64)))
	} else {
		current := s.Changes[len(s.Changes)-1]
		p.data = appendRate(append64(p.data, float64(current.At)), current.Rate)
	}
	b.termsPart = p
	b.schedules = append(b.schedules, byte(len(s.Changes)), flag(s.Cut))
	b.schedules = appendRate(b.schedules, s.Slowest)
	for _, c := range s.Changes {
		b.schedules = appendRate(append64(b.schedules, float64(c.At)), c.Rate)
	}
	return n
}

// keys are those of the call, the policy's and the lane's first.
func (b *batch) keys(lane string) []string {
	return slices.Concat([]string{b.of + "policy", lane}, b.entryKeys, b.counterKey, b.onceKeys, b.holdKeys)
}

// args are those of the call with that number; own is what the script has of its own.
func (b *batch) args(seq int64, own any) []any {
	b.in.reset()
	b.in.format = append(b.in.format, "<dHHHHHH"...)
	b.in.data = append64(b.in.data, float64(seq))
	for _, n := range []int{len(b.entryKeys), len(b.stamps), len(b.terms), len(b.onceKeys), len(b.holdKeys), len(b.asks)} {
		b.in.data = append16(b.in.data, n)
	}
	for _, p := range []packed{b.stampPart, b.termsPart, b.holdPart, b.oncePart, b.askPart} {
		b.in.add(p)
	}
	args := []any{b.in.format, b.in.data, append([]byte{'<'}, b.out.format...), b.schedules, own}
	return append(append(args, b.bodies...), b.grants...)
}

func append16(b []byte, n int) []byte { return binary.LittleEndian.AppendUint16(b, uint16(n)) }

func append64(b []byte, f float64) []byte {
	return binary.LittleEndian.AppendUint64(b, math.Float64bits(f))
}

func appendRate(b []byte, r limiter.Rate) []byte {
	return append64(append64(b, float64(r.Units)), float64(r.Per))
}

func flag(set bool) byte {
	if set {
		return 1
	}
	return 0
}
