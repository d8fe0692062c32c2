package limiter

import (
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestRetentionIsInProportion(t *testing.T) {
	for drain, want := range map[time.Duration]time.Duration{
		0: time.Minute, time.Second: time.Minute, 10 * time.Second: 90 * time.Second, time.Minute: 9 * time.Minute,
		time.Hour: 9 * time.Hour, 3 * time.Hour: 24 * time.Hour, Forever: 24 * time.Hour,
	} {
		if got := retention(drain); got != want {
			t.Errorf("what drains in %v is kept for %v after, want %v", drain, got, want)
		}
	}
	at := State{Used: 10, Mark: noon, Rate: Rate{1, 1_000_000}}
	if gone := noon + 100*second; at.Expired(gone-1) || !at.Expired(gone) {
		t.Errorf("a debt of 10 s is not kept for 100 s")
	}
}

func TestNamesAreNotedForAsLongAsCountersLive(t *testing.T) {
	const rate, quota, slots = `"scope":"key","kind":"rate","amount":60,"per":`, `"scope":"key","kind":"quota","amount":60,"per":`, `"scope":"key","kind":"concurrency","amount":6`
	for limit, want := range map[string]time.Duration{
		rate + `"1s"`:    time.Hour,
		rate + `"1m"`:    time.Hour,
		rate + `"10m"`:   8 * time.Hour, // 20 m at most, and 18 times that
		rate + `"31d"`:   2048 * time.Hour,
		quota + `"hour"`: 4 * time.Hour,
		quota + `"day"`:  32 * time.Hour,
		slots:            32 * time.Hour,
	} {
		p, err := ParsePolicy([]byte(`{"limits":{"l":{` + limit + `}}}`))
		if err != nil {
			t.Fatal(err)
		}
		r, _ := Record{}.nextPolicy(p)
		v, err := newPolicyView("openai", r.Stamped())
		if err != nil {
			t.Fatal(err)
		}
		if v.naming.period != want {
			t.Errorf("%s: names are noted for %v, want %v", limit, v.naming.period, want)
		}
	}
}

func TestPeriodEnd(t *testing.T) {
	hour := Instant(3600_000000)
	for now, want := range map[Instant]Instant{0: hour, hour - 1: hour, hour: 2 * hour, 5*hour + 1: 6 * hour} {
		if got := PeriodEnd(now, time.Hour); got != want {
			t.Errorf("the period of %d ends at %d, want %d", now, got, want)
		}
	}
}

// What an instance remembers of names doesn't grow with how long they are.
func TestSeenNamesAreSmall(t *testing.T) {
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before, s := heap(), newSeenNames()
	for i := range maxSeenNames + 1000 {
		a := &attempt{model: strconv.Itoa(i) + strings.Repeat("m", 250)}
		a.charge = Charge{Provider: "p", KeyID: KeyID(strconv.Itoa(i)), Names: []Name{{Kind: KeyModelName, Period: time.Hour, Charge: true}}}
		s.learn(a)
		if id := a.nameID(KeyModelName); !s.has(id, time.Hour, 0) || s.has(id, time.Hour, PeriodEnd(0, time.Hour)) || s.has(id, 2*time.Hour, 0) {
			t.Fatalf("name %d is not remembered for its period", i)
		}
	}
	if took := heap() - before; took > 16<<20 {
		t.Errorf("%d names take %d bytes", s.until.Len(), took)
	}
	runtime.KeepAlive(s)
}
