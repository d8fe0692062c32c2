package memstore_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

func BenchmarkDecide(b *testing.B) {
	for _, limits := range []int{1, 2, 4, 8} {
		b.Run(fmt.Sprintf("limits=%d", limits), func(b *testing.B) {
			charge := benchmarkCharge(b, limits)
			b.ReportAllocs()
			for b.Loop() {
				charge.store.Decide(context.Background(), charge.charges)
			}
			if v := charge.charges[0].Outcome.Verdict; v != limiter.Granted {
				b.Fatal(charge.charges[0].Outcome)
			}
		})
	}
}

type benchCharge struct {
	store   *memstore.Store
	charges []*limiter.Charge
}

func benchmarkCharge(b *testing.B, limits int) benchCharge {
	s := memstore.New(memstore.Options{})
	r, err := s.Swap(context.Background(), limiter.DocID{Provider: "openai"}, "", limiter.Record{Tag: "t", Revision: 1, Body: []byte("{}")})
	if err != nil {
		b.Fatal(err)
	}
	c := &limiter.Charge{Provider: "openai", KeyID: limiter.KeyID("sk-1"), Stamps: limiter.Stamps{Policy: r.Tag}, NotAfter: 1 << 62}
	subjects := []string{"", c.KeyID}
	for i := range limits {
		name := fmt.Sprintf("l%d", i)
		l := &limiter.Limit{Name: name, Kind: limiter.KindRate, Mode: limiter.Enforce, Amount: 1e12, Burst: 1e12}
		c.Lines = append(c.Lines, limiter.Line{
			Terms: &limiter.Terms{Limit: l, Counter: "gen/" + name + "@1", Schedule: limiter.Schedule{
				Changes: []limiter.RateChange{{Rate: limiter.Rate{Units: 1e12, Per: 60_000_000}}}}},
			Subject: subjects[i*2/limits], Cost: 1,
		})
	}
	return benchCharge{s, []*limiter.Charge{c}}
}
