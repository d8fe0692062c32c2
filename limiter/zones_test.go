package limiter

import (
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"sync"
	"testing"
	"time"
)

// zone is one of the IANA database, with the moments at which its clocks change.
type zone struct {
	*time.Location
	turns []time.Time
}

// moments are those around which windows are worth a look: some of the turns, at random, or with PERMITD_CALENDAR=all all
// of them; and the last day of leap years, which Go's own idea of when clocks change gets wrong.
func (z zone) moments(t *testing.T, n int) []time.Time {
	moments := []time.Time{time.Date(2026, 1, 1, 0, 0, 0, 0, z.Location)}
	for year := 2024; year < 2036; year += 4 {
		moments = append(moments, time.Date(year, 12, 31, 0, 0, 0, 0, time.UTC))
	}
	if os.Getenv("PERMITD_CALENDAR") == "all" {
		return append(moments, z.turns...)
	}
	rng := rand.New(rand.NewPCG(seedOf(t), 0))
	for range min(n, len(z.turns)) {
		moments = append(moments, z.turns[rng.IntN(len(z.turns))])
	}
	return moments
}

// allZones reads the whole embedded database.
func allZones(t *testing.T) []zone {
	t.Helper()
	zones, err := readZones()
	if err != nil {
		t.Fatal(err)
	}
	if len(zones) < 400 {
		t.Fatalf("only %d zones in the database", len(zones))
	}
	return zones
}

func zoneNamed(t *testing.T, name string) *time.Location {
	t.Helper()
	for _, z := range allZones(t) {
		if z.String() == name {
			return z.Location
		}
	}
	t.Fatalf("no zone %s", name)
	return nil
}

var readZones = sync.OnceValues(func() ([]zone, error) {
	var zones []zone
	for _, name := range slices.Sorted(maps.Keys(zoneFiles())) {
		z, err := readZone(name)
		if err != nil {
			return nil, err
		}
		zones = append(zones, z)
	}
	return zones, nil
})

func readZone(name string) (zone, error) {
	location, err := loadZone(name)
	if err != nil {
		return zone{}, err
	}
	z := zone{Location: location}
	offset := func(at time.Time) int { _, o := at.In(location).Zone(); return o }
	at, until := time.Date(2015, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(2036, 1, 1, 0, 0, 0, 0, time.UTC)
	for ; at.Before(until); at = at.Add(24 * time.Hour) { // ZoneBounds is what the code under test goes by, so not that
		if was := offset(at); was != offset(at.Add(24*time.Hour)) {
			seconds := sort.Search(86400, func(s int) bool { return offset(at.Add(time.Duration(s)*time.Second)) != was })
			z.turns = append(z.turns, at.Add(time.Duration(seconds)*time.Second))
		}
	}
	return z, nil
}

// TestZonesAreThoseOfTheEmbeddedDatabase: what only the machine's own has, or is no zone, is refused on every machine.
func TestZonesAreThoseOfTheEmbeddedDatabase(t *testing.T) {
	for name, want := range map[string]bool{
		"UTC": true, "Europe/Berlin": true, "America/Argentina/Buenos_Aires": true, "US/Pacific": true, "Etc/GMT+5": true, "EST5EDT": true,
		"": false, "Local": false, "localtime": false, "posixrules": false, "posix/UTC": false, "right/UTC": false, "Factory": false,
		"./UTC": false, "UTC/": false, "/UTC": false, "Europe": false, "Europe/": false, "Europe//Berlin": false, "Europe/../UTC": false,
		"europe/berlin": false, "utc": false, " UTC": false, "UTC ": false, "zone.tab": false, "Mars/Base": false,
	} {
		p, err := ParsePolicy([]byte(`{"limits":{"l":{"scope":"key","kind":"quota","amount":1,"per":"day","timezone":"` + name + `"}}}`))
		if got := slices.Equal(faultsOf(t, err), []string{"/limits/l/timezone"}); got == want || (err == nil) != want {
			t.Errorf("%q: %v", name, err)
		}
		if want && p.Limits[0].Calendar.Zone.String() != name {
			t.Errorf("%q is %v", name, p.Limits[0].Calendar.Zone)
		}
	}
}
