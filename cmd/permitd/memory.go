package main

import (
	"log/slog"
	"math"
	"runtime/debug"

	"github.com/KimMachineGun/automemlimit/memlimit"
	"github.com/dustin/go-humanize"
)

const (
	// leastMemory is the least that --max-memory may be.
	leastMemory = 16 << 20
	// unknownMemory is what a process may use where that can't be found out.
	unknownMemory = 1 << 30
)

// memory is how much of the machine permitd may take, in bytes.
type memory struct {
	records int64 // for counters, holds and grants: --max-memory
	process int64 // in all, as far as known
}

// readMemory checks --max-memory. Without it records may have a quarter of what the process may use.
func readMemory(given settings, setting string) (m memory, err error) {
	m.process = allowance()
	if setting == "" {
		m.records = max(leastMemory, m.process/4)
		return m, nil
	}
	n, err := humanize.ParseBytes(setting)
	if err != nil || n < leastMemory || n > math.MaxInt64 {
		return m, given.bad("max-memory", setting, "must be a size of at least 16MiB, such as 512MiB or 2GiB")
	}
	m.records = int64(n)
	return m, nil
}

// allowance is how much memory the process may use: what its cgroup and GOMEMLIMIT leave it of the machine's.
func allowance() int64 {
	least := int64(math.MaxInt64)
	for _, limit := range []memlimit.Provider{memlimit.FromCgroup, memlimit.FromSystem} {
		if n, err := limit(); err == nil && n > 0 && n < math.MaxInt64 {
			least = min(least, int64(n))
		}
	}
	if least = min(least, debug.SetMemoryLimit(-1)); least == math.MaxInt64 {
		return unknownMemory
	}
	return least
}

// warn says what does not fit together.
func (m memory) warn(log *slog.Logger) {
	if m.records > m.process/2 {
		log.Warn("--max-memory is more than half of what permitd may use, and garbage needs room too: lower it, or give permitd more memory",
			"max_memory", humanize.IBytes(uint64(m.records)), "may_use", humanize.IBytes(uint64(m.process)))
	}
}
