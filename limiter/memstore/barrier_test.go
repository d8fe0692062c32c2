package memstore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

// TestWriteWaitsForDecisionsThatSawTheOldDocument stops a decision between its look at the documents and its charge.
func TestWriteWaitsForDecisionsThatSawTheOldDocument(t *testing.T) {
	var armed atomic.Bool
	deciding, resume := make(chan struct{}), make(chan struct{})
	s := memstore.New(memstore.Options{Clock: func() limiter.Instant {
		if armed.CompareAndSwap(true, false) {
			close(deciding)
			<-resume
		}
		return 1
	}})
	ctx, id := context.Background(), limiter.DocID{Provider: "p"}
	if _, err := s.Swap(ctx, id, "", limiter.Record{Revision: 1, Tag: "one", Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	armed.Store(true)
	decided, written := make(chan struct{}), make(chan struct{})
	charge := &limiter.Charge{Provider: "p", Stamps: limiter.Stamps{Policy: "one"}, NotAfter: 2, Lines: []limiter.Line{{
		Terms: &limiter.Terms{Limit: &limiter.Limit{Kind: limiter.KindRate, Amount: 1, Burst: 1},
			Schedule: limiter.Schedule{Changes: []limiter.RateChange{{Rate: limiter.Rate{Units: 1, Per: 1e6}}}}}, Cost: 1}}}
	go func() {
		s.Decide(ctx, []*limiter.Charge{charge})
		close(decided)
	}()
	<-deciding
	go func() {
		s.Swap(ctx, id, "one", limiter.Record{Revision: 2, Tag: "two", Body: []byte("{}")})
		close(written)
	}()
	for r := (limiter.Record{}); r.Tag != "two"; { // published, so that whoever asks now sees it
		r, _ = s.Load(ctx, id)
	}
	select {
	case <-written:
		t.Error("the write returned while a decision under the old document was under way")
	case <-time.After(20 * time.Millisecond):
	}
	close(resume)
	<-written
	<-decided
	if charge.Outcome.Verdict != limiter.Granted {
		t.Errorf("outcome %+v", charge.Outcome)
	}
}
