package redisstore

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// The verdicts of lua/acquire.lua that are not those of package limiter: a dry run that would have been granted, one that
// was granted before, and one with names that are too many.
const granted, grantedDry, repeated, crowded = byte(limiter.Granted), 5, 6, 7

var (
	errReply = errors.New("the answer is not one that the script gives")
	errGone  = errors.New("the call was given up before it came to Redis")
)

// reply is a script's answer, read front to back.
type reply struct {
	now      limiter.Instant
	rest     []byte
	outdated map[int]*limiter.Record // documents as they stand, of those that an ask was not resolved under
	repeats  map[int]string          // of asks, from 1, that were granted before: what is remembered
	asks     int                     // read so far
}

func readReply(result any) (*reply, error) {
	parts, ok := result.([]any)
	if ok && len(parts) == 0 {
		return nil, errGone
	}
	if !ok || len(parts)%2 == 0 {
		return nil, errReply
	}
	blob, ok := parts[0].(string)
	if !ok || len(blob) < 8 {
		return nil, errReply
	}
	r := &reply{
		now:  readInstant(blob),
		rest: []byte(blob[8:]),
	}
	return r, r.readDocuments(parts[1:])
}

// readDocuments reads what follows an answer: numbers of documents, and those documents as they stand.
func (r *reply) readDocuments(parts []any) error {
	for ; len(parts) >= 2; parts = parts[2:] {
		doc, isInt := parts[0].(int64)
		text, isText := parts[1].(string)
		if !isInt || !isText {
			return errReply
		}
		if doc < 0 {
			if r.repeats == nil {
				r.repeats = map[int]string{}
			}
			r.repeats[int(-doc)] = text
			continue
		}
		record, err := decodeRecord(text)
		if err != nil {
			return err
		}
		if r.outdated == nil {
			r.outdated = map[int]*limiter.Record{}
		}
		r.outdated[int(doc)] = &record
	}
	return nil
}

// lineSize is what the answer to a line takes: used, part or end of the window, total, flags.
const lineSize = 7 + 7 + 7 + 1

// next is the verdict on the next ask, which has so many lines, and what is said of them.
func (r *reply) next(lines int) (verdict byte, of []byte, err error) {
	size := 1 + lines*lineSize
	if len(r.rest) < size {
		return 0, nil, errReply
	}
	verdict, of, r.rest = r.rest[0], r.rest[1:size], r.rest[size:]
	r.asks++
	if verdict < granted || verdict > crowded || verdict == repeated && r.repeats[r.asks] == "" {
		return 0, nil, fmt.Errorf("%w: verdict %d", errReply, verdict)
	}
	return verdict, of, nil
}

// answer fills in the outcome of a charge.
func (b *batch) answer(c *limiter.Charge, r *reply, verdict byte, lines []byte) {
	c.Outcome = limiter.Outcome{Now: r.now, Verdict: limiter.Verdict(verdict)}
	switch verdict {
	case granted:
		if c.Hold != nil && !c.DryRun {
			c.Outcome.Expires = r.now.Later(c.Hold.TTL)
		}
	case grantedDry:
		c.Outcome.Verdict = limiter.Granted
	case repeated:
		c.Outcome.Verdict, c.Outcome.Grant = limiter.Repeated, decodeGrant(r.repeats[r.asks], c.PermitID)
	case crowded:
		c.Outcome.Verdict = limiter.Crowded
		if len(lines) > 0 {
			c.Outcome.Crowd = limiter.Crowd(lines[0])
		}
	case byte(limiter.Stale):
		c.Outcome.Current = b.current(c, r)
	}
	if v := c.Outcome.Verdict; v != limiter.Granted && v != limiter.Denied {
		return
	}
	for i := range lines[:len(lines)/lineSize] {
		c.Lines[i].State, c.Lines[i].Fits = readLine(&c.Lines[i], lines[i*lineSize:], r.now)
	}
}

// current are the documents that a reply brought of those that a charge was resolved under.
func (b *batch) current(c *limiter.Charge, r *reply) limiter.Current {
	return limiter.Current{
		Policy: changed(r.outdated[0], c.Stamps.Policy),
		Key:    b.entry(r, limiter.DocID{Provider: c.Provider, Kind: limiter.KeyEntry, Name: c.KeyID}, c.Stamps.Key),
		Pool:   b.entry(r, limiter.DocID{Provider: c.Provider, Kind: limiter.PoolEntry, Name: c.Pool}, c.Stamps.Pool),
	}
}

// entry is what the reply has of an entry that is not what it should be.
func (b *batch) entry(r *reply, id limiter.DocID, tag string) *limiter.Record {
	if n, asked := b.entries[id]; asked {
		return changed(r.outdated[n], tag)
	}
	return nil
}

// changed is r if it is known and has another tag.
func changed(r *limiter.Record, tag string) *limiter.Record {
	if r == nil || r.Tag == tag {
		return nil
	}
	return r
}

// decodeGrant reads what lua/acquire.lua remembers of a grant to an ask for the same provider as permitID's. One that can't
// be read has no lines, which no ask has asked for.
func decodeGrant(text, permitID string) *limiter.Grant {
	const head, ask = 1 + 8 + 8 + permitSuffix + 1, 32
	g := &limiter.Grant{}
	if len(text) < head+ask {
		return g
	}
	b := []byte(text)
	g.Now = readInstant(text[9:])
	g.PermitID = strings.TrimSuffix(permitID, suffixOf(permitID)) + text[17:17+permitSuffix]
	lines := int(b[head-1])
	if b = b[head:]; len(b) < lines*lineSize+ask {
		return g
	}
	for range lines {
		g.Lines = append(g.Lines, limiter.GrantLine{
			State: limiter.State{Used: read7(b), Part: read7(b[7:]), Mark: limiter.Instant(read7(b[7:]))},
			Fits:  b[21]&1 == 1,
		})
		b = b[lineSize:]
	}
	g.Ask, g.Body = string(b[:ask]), b[ask:]
	return g
}

// readLine reads what is said of a line: the counter's state now, without its refunds, and whether the cost fit.
func readLine(l *limiter.Line, of []byte, now limiter.Instant) (s limiter.State, fits bool) {
	s.Used, s.Total = read7(of), read7(of[14:])
	switch l.Terms.Limit.Kind {
	case limiter.KindConcurrency:
		s.Total = 0 // the script's own use
		fallthrough
	case limiter.KindQuota:
		s.Mark = limiter.Instant(read7(of[7:]))
	default:
		current := l.Terms.Schedule.Changes[len(l.Terms.Schedule.Changes)-1]
		s.Part, s.Mark, s.Rate, s.Since = read7(of[7:]), now, current.Rate, current.At
	}
	return s, of[21]&1 == 1
}

// readInstant is a moment that a script packed as a double.
func readInstant(s string) limiter.Instant {
	return limiter.Instant(math.Float64frombits(binary.LittleEndian.Uint64([]byte(s[:8]))))
}

// read7 is a whole number of seven bytes.
func read7(b []byte) (n int64) {
	for i := 6; i >= 0; i-- {
		n = n<<8 | int64(b[i])
	}
	return n
}
