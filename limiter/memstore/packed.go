package memstore

import (
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/internal/pack"
)

// What records hold, in few bytes, before their bodies. Moments are given by what they are later than others.

// maxNumber is what a number takes at most.
const maxNumber = 10

// holdHead packs a hold without its body.
func holdHead(h *limiter.Hold) []byte {
	w := pack.Writer{Bytes: make([]byte, 0, 256)}
	w.Int(int64(h.Status))
	w.Bool(h.Late)
	w.Int(int64(h.Born))
	w.Int(int64(h.Expires - h.Born))
	w.Int(int64(h.Keep))
	w.Int(int64(len(h.Receipts)))
	for _, r := range h.Receipts {
		if r == (limiter.Receipt{}) {
			w.Int(0)
			continue
		}
		w.Int(r.Units + 1)
		w.Int(r.Total)
		w.Int(int64(r.Mark - h.Born))
	}
	w.Int(int64(len(h.Changes)))
	for _, ch := range h.Changes {
		w.Int(ch.Adjusted)
		w.Int(ch.Uncharged)
	}
	return w.Bytes
}

// holdHeadMost is what the head of a hold of so many lines takes at most.
func holdHeadMost(lines int) int { return (7 + 3*lines) * maxNumber }

// unpackHold is a hold, and the part of its body that is its own.
func unpackHold(r *record) (h limiter.Hold, ownBody string) {
	in := pack.Read(r.own)
	h.Status, h.Late = limiter.HoldStatus(in.Int()), in.Bool()
	h.Born = limiter.Instant(in.Int())
	h.Expires, h.Keep = h.Born+limiter.Instant(in.Int()), time.Duration(in.Int())
	if n := in.Len(); n > 0 {
		h.Receipts = make([]limiter.Receipt, n)
	}
	for i := range h.Receipts {
		if n := in.Int(); n > 0 {
			h.Receipts[i] = limiter.Receipt{Units: n - 1, Total: in.Int(), Mark: h.Born + limiter.Instant(in.Int())}
		}
	}
	if n := in.Len(); n > 0 {
		h.Changes = make([]limiter.LineChange, n)
	}
	for i := range h.Changes {
		h.Changes[i] = limiter.LineChange{Adjusted: in.Int(), Uncharged: in.Int()}
	}
	return h, in.Rest()
}

// grantHead packs a grant without its body.
func grantHead(g *limiter.Grant) []byte {
	w := pack.Writer{Bytes: make([]byte, 0, 256)}
	w.Int(int64(g.Now))
	w.Text(g.PermitID)
	w.Text(g.Ask)
	w.Int(int64(len(g.Lines)))
	for i := range g.Lines {
		s := &g.Lines[i].State
		w.Int(s.Used)
		w.Int(s.Part)
		w.Int(int64(s.Mark - g.Now))
		w.Bool(g.Lines[i].Fits)
	}
	return w.Bytes
}

// grantHeadMost is what the head of a grant of so many lines takes at most.
func grantHeadMost(permitID, ask string, lines int) int {
	return len(permitID) + len(ask) + (4+4*lines)*maxNumber
}

// unpackGrant is a grant as it was packed.
func unpackGrant(r *record) *limiter.Grant {
	in := pack.Read(r.own)
	g := &limiter.Grant{Now: limiter.Instant(in.Int()), PermitID: in.Text(), Ask: in.Text()}
	g.Lines = make([]limiter.GrantLine, in.Len())
	for i := range g.Lines {
		l := &g.Lines[i]
		l.State = limiter.State{Used: in.Int(), Part: in.Int(), Mark: g.Now + limiter.Instant(in.Int())}
		l.Fits = in.Bool()
	}
	g.Body = []byte(r.shared.String() + in.Rest())
	return g
}
