package limiter

import (
	"time"

	"github.com/permitd/permitd/limiter/internal/pack"
)

// grantBody is the body of a Once: with the states of the lines, all that the decision said.
type grantBody struct {
	TTL      time.Duration // of the hold, if there is one
	Pool     string
	Revision int64
	Ignored  []string
	Units    []string // unknown ones
	Model    bool     // it is unknown
	Lines    []grantedLine
	Counters string // a digest of those of the lines: bodies of different counters differ
}

type grantedLine struct {
	Name   string
	Scope  Scope
	Kind   Kind
	Unit   string
	Mode   Mode
	Model  string
	Amount int64
	Burst  int64
	Per    time.Duration
	Rate   Rate
	Window Window
	Cost   int64
	// Unweighed says that the ask named no unit of the limit.
	Unweighed bool
	Other     bool
}

// granted is what is remembered of a line.
func (l *Line) granted() grantedLine {
	limit := l.Terms.Limit
	g := grantedLine{
		limit.Name, limit.Scope, limit.Kind, limit.Unit, limit.Mode, l.Model, limit.Amount, limit.Burst, limit.Per, Rate{},
		l.Window, l.Cost, l.Unweighed, l.other(),
	}
	if limit.Kind == KindRate {
		g.Rate = l.Terms.Schedule.current().Rate
	}
	return g
}

// body is what a store keeps, and how much of its beginning is the same for all charges of the same limits.
func (b *grantBody) body() (body []byte, shared int) {
	w := &pack.Writer{Bytes: make([]byte, 0, 64*len(b.Lines)+128)}
	w.Int(b.Revision)
	w.Int(int64(len(b.Lines)))
	for i := range b.Lines {
		l := &b.Lines[i]
		w.Text(l.Name)
		w.Word(string(l.Scope))
		w.Word(string(l.Kind))
		w.Word(l.Unit)
		w.Word(string(l.Mode))
		for _, n := range []int64{l.Amount, l.Burst, int64(l.Per), l.Rate.Units, l.Rate.Per, int64(l.Window.Start), int64(l.Window.End)} {
			w.Int(n)
		}
	}
	shared = len(w.Bytes)
	w.Int(int64(b.TTL))
	w.Word(b.Pool)
	writeWords(w, b.Ignored)
	writeWords(w, b.Units)
	w.Bool(b.Model)
	for i := range b.Lines {
		w.Word(b.Lines[i].Model)
		w.Int(b.Lines[i].Cost)
		w.Bool(b.Lines[i].Unweighed)
		w.Bool(b.Lines[i].Other)
	}
	w.Text(b.Counters)
	return w.Bytes, shared
}

// readGrantBody returns false if it is not one.
func readGrantBody(body []byte) (b grantBody, ok bool) {
	in := pack.Read(string(body))
	b.Revision = in.Int()
	b.Lines = make([]grantedLine, in.Len())
	for i := range b.Lines {
		l := &b.Lines[i]
		l.Name, l.Scope, l.Kind, l.Unit, l.Mode = in.Text(), Scope(in.Word()), Kind(in.Word()), in.Word(), Mode(in.Word())
		l.Amount, l.Burst, l.Per = in.Int(), in.Int(), time.Duration(in.Int())
		l.Rate, l.Window = Rate{in.Int(), in.Int()}, Window{Start: Instant(in.Int()), End: Instant(in.Int())}
	}
	b.TTL, b.Pool = time.Duration(in.Int()), in.Word()
	b.Ignored, b.Units, b.Model = readWords(in), readWords(in), in.Bool()
	for i := range b.Lines {
		l := &b.Lines[i]
		l.Model, l.Cost, l.Unweighed, l.Other = in.Word(), in.Int(), in.Bool(), in.Bool()
	}
	b.Counters = in.Text()
	return b, !in.Bad()
}
