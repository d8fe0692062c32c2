package main

import (
	"context"
	"math"
	"runtime/debug"
	"runtime/metrics"
	"time"

	"github.com/permitd/permitd/limiter"
)

// Garbage is collected when it has grown to what lives, so that a process takes twice its records, unless the runtime is told a
// limit, near which it collects more often. That limit is set to what records may take, and room for garbage. What else lives,
// such as policies and connections, is known only while permitd runs; it moves the limit by twice as much, so that collecting
// takes no more time for it than without a limit.
const (
	leastRoom  = 32 << 20 // beside the binary, so that all is within 64 MiB
	usualOther = 24 << 20 // that lives and has its room there
	roomPause  = time.Second
	leastMove  = 4 << 20
)

// softLimit is the runtime's limit while so many bytes live that are no records.
func (m memory) softLimit(other int64) int64 {
	limit := m.records + max(leastRoom, m.records/2) + 2*max(0, other-usualOther)
	return min(limit, m.process/10*9) // near the end, collecting is better than being killed
}

// collect keeps the runtime's limit until ctx ends. It does nothing where GOMEMLIMIT is set.
func (m memory) collect(ctx context.Context, records *limiter.Memory) {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return
	}
	defer debug.SetMemoryLimit(math.MaxInt64)
	last := m.softLimit(0)
	debug.SetMemoryLimit(last)
	ticker := time.NewTicker(roomPause)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		next := m.softLimit(living() - records.Used())
		if d := next - last; d > leastMove || d < -leastMove {
			debug.SetMemoryLimit(next)
			last = next
		}
	}
}

// living is how much of the memory lived when garbage was last collected, stacks included.
func living() (n int64) {
	samples := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	metrics.Read(samples)
	for _, s := range samples {
		n += int64(s.Value.Uint64())
	}
	return n
}
