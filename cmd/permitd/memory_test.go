package main

import (
	"math"
	"runtime/debug"
	"testing"
)

func TestReadMemory(t *testing.T) {
	for setting, want := range map[string]int64{"512MiB": 512 << 20, "2GiB": 2 << 30, "1.5 GiB": 3 << 29, "64MB": 64e6, "16777216": 16 << 20} {
		if m, err := readMemory(settings{}, setting); err != nil || m.records != want {
			t.Errorf("%s: %d, %v; want %d", setting, m.records, err, want)
		}
	}
	was := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(was)
	debug.SetMemoryLimit(400 << 20) // as GOMEMLIMIT does
	if m, err := readMemory(settings{}, ""); err != nil || m.records != 100<<20 || m.process != 400<<20 {
		t.Errorf("%+v, %v; want a quarter of what GOMEMLIMIT leaves", m, err)
	}
	debug.SetMemoryLimit(8 << 20)
	if m, err := readMemory(settings{}, ""); err != nil || m.records != leastMemory {
		t.Errorf("%+v, %v; want the least", m, err)
	}
	debug.SetMemoryLimit(math.MaxInt64)
	if m, err := readMemory(settings{}, ""); err != nil || m.process == math.MaxInt64 || m.records != m.process/4 {
		t.Errorf("%+v, %v; want a quarter of the machine's", m, err)
	}
}

func TestSoftLimit(t *testing.T) {
	const mib = 1 << 20
	for _, row := range []struct{ records, process, other, want int64 }{
		{64 * mib, 8192 * mib, 0, 96 * mib},
		{64 * mib, 8192 * mib, 24 * mib, 96 * mib},
		{64 * mib, 8192 * mib, 124 * mib, 296 * mib}, // what else lives has as much room as without a limit
		{1024 * mib, 8192 * mib, 0, 1536 * mib},
		{1024 * mib, 1000 * mib, 0, 900 * mib},
	} {
		if got := (memory{row.records, row.process}).softLimit(row.other); got != row.want {
			t.Errorf("%+v: %d MiB", row, got/mib)
		}
	}
}
