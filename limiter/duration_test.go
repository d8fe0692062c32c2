package limiter

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestDurationIsWrittenSoThatItReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		unit := rapid.SampledFrom([]time.Duration{1, µs, time.Millisecond, time.Second, time.Minute, time.Hour, day}).Draw(t, "unit")
		d := unit * time.Duration(rapid.Int64Range(0, int64(60*day/unit)).Draw(t, "units"))
		if got, err := ParseDuration(FormatDuration(d)); err != nil || got != d {
			t.Fatalf("%d is written %q and read as %d, %v", d, FormatDuration(d), got, err)
		}
	})
}

func TestDurationIsWrittenAsPeopleWrite(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Millisecond: "1ms", 1500 * time.Millisecond: "1.5s", time.Minute: "1m", 90 * time.Second: "1m30s",
		10 * time.Minute: "10m", time.Hour: "1h", 10 * time.Hour: "10h", 90 * time.Minute: "1h30m", time.Hour + time.Second: "1h0m1s",
		day: "1d", 36 * time.Hour: "36h", 31 * day: "31d",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

func TestDurationsMayStartWithDays(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"7d": 7 * day, "1d12h": 36 * time.Hour, "0d1ms": time.Millisecond, "1d1d": -1, "d": -1, "-1d": -1, "+1d": -1, "1.5d": -1,
		"1d-1h": -1, "1d+1h": -1, "1 d": -1, "1D": -1, "12h1d": -1, "70000d": -1, "1h30m": 90 * time.Minute, "0": 0, "": -1, "1": -1, "1m ": -1,
	} {
		got, err := ParseDuration(s)
		if want < 0 && err == nil || want >= 0 && (err != nil || got != want) {
			t.Errorf("%q is read as %v, %v", s, got, err)
		}
	}
}

func FuzzParseDuration(f *testing.F) {
	for _, s := range []string{"1m", "7d", "1d12h", "1.5h", "", "d", "65535d2562047h47m"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if d, err := ParseDuration(s); err == nil && d < 0 {
			t.Errorf("%q is read as %v", s, d)
		}
	})
}
