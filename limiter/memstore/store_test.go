package memstore_test

import (
	"sync/atomic"
	"testing"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
	"github.com/permitd/permitd/limiter/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Backend{
		Open: func(testing.TB) limiter.Store { return memstore.New(memstore.Options{}) },
		OpenVirtual: func(testing.TB) (limiter.Store, func(limiter.Instant)) {
			var now atomic.Int64
			clock := func() limiter.Instant { return limiter.Instant(now.Load()) }
			return memstore.New(memstore.Options{Clock: clock}), func(i limiter.Instant) { now.Store(int64(i)) }
		},
	})
}
