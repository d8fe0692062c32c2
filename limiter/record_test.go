package limiter

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// counters are the names of the counters of every limit.
func (d *tuned) counters() map[string]string {
	v, err := newPolicyView("acme", d.policy)
	if err != nil {
		d.tb.Fatal(err)
	}
	names := map[string]string{}
	for _, t := range v.terms {
		names[t.Limit.Name] = t.Counter
	}
	return names
}

func TestEditsThatKeepWhatACounterMeansKeepTheCounter(t *testing.T) {
	rate := `{"scope":"key","kind":"rate","amount":100,"per":"1m"%s}`
	quota := `{"scope":"key","kind":"quota","amount":100,"per":"day"%s}`
	for name, limits := range map[string][2]string{
		"amount":                 {fmt.Sprintf(rate, ""), `{"scope":"key","kind":"rate","amount":7,"per":"1m"}`},
		"per":                    {fmt.Sprintf(rate, ""), `{"scope":"key","kind":"rate","amount":100,"per":"31d"}`},
		"burst":                  {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"burst":3`)},
		"strict_window":          {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"strict_window":true,"slack":"1s"`)},
		"mode":                   {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"mode":"shadow"`)},
		"models":                 {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"models":["gpt-*"]`)},
		"reserve_counts":         {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"reserve_counts":{"requests":2}`)},
		"default_cost":           {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"default_cost":2`)},
		"counts spelled":         {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"counts":{"requests":1}`)},
		"quota amount":           {fmt.Sprintf(quota, ""), `{"scope":"key","kind":"quota","amount":7,"per":"day"}`},
		"quota timezone spelled": {fmt.Sprintf(quota, ""), fmt.Sprintf(quota, `,"timezone":"UTC"`)},
	} {
		t.Run(name, func(t *testing.T) {
			d := &tuned{tb: t}
			d.setPolicy(noon, `{"limits":{"l":`+limits[0]+`}}`)
			before := d.terms.Counter
			if restarted := d.setPolicy(noon+1, `{"limits":{"l":`+limits[1]+`}}`); restarted != nil || d.terms.Counter != before {
				t.Errorf("counter %s became %s, restarted %v", before, d.terms.Counter, restarted)
			}
		})
	}
}

func TestEditsThatChangeWhatACounterMeansStartANewOneAndSaySo(t *testing.T) {
	rate := `{"scope":"key","kind":"rate","amount":100,"per":"1h"%s}`
	quota := `{"scope":"key","kind":"quota","amount":100,"per":"hour"%s}`
	for name, limits := range map[string][2]string{
		"kind":      {fmt.Sprintf(rate, ""), fmt.Sprintf(quota, "")},
		"unit":      {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"unit":"tokens"`)},
		"unit only": {fmt.Sprintf(rate, `,"counts":{"a":1}`), fmt.Sprintf(rate, `,"counts":{"a":1},"unit":"tokens"`)},
		"counts":    {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"counts":{"requests":2}`)},
		"scope":     {fmt.Sprintf(rate, ""), `{"scope":"pool","kind":"rate","amount":100,"per":"1h"}`},
		"per_model": {fmt.Sprintf(rate, ""), fmt.Sprintf(rate, `,"per_model":true`)},
		"per":       {fmt.Sprintf(quota, ""), `{"scope":"key","kind":"quota","amount":100,"per":"day"}`},
		"timezone":  {fmt.Sprintf(quota, ""), fmt.Sprintf(quota, `,"timezone":"Asia/Tokyo"`)},
	} {
		t.Run(name, func(t *testing.T) {
			d := &tuned{tb: t}
			seen := map[string]bool{}
			for i := range 4 { // there and back again, and every time afresh
				more := fmt.Sprintf(`,"other":{"scope":"key","kind":"rate","amount":%d,"per":"1s"}}}`, i+1)
				restarted := d.setPolicy(noon+Instant(i), `{"limits":{"l":`+limits[i%2]+more)
				if want := []string{"l"}; i > 0 && !slices.Equal(restarted, want) || i == 0 && restarted != nil {
					t.Errorf("edit %d: restarted %v", i, restarted)
				}
				if seen[d.terms.Counter] {
					t.Errorf("edit %d: counter %s was in use before", i, d.terms.Counter)
				}
				seen[d.terms.Counter] = true
			}
		})
	}
}

func TestLimitThatIsRemovedAndReturnsFindsItsUsage(t *testing.T) {
	l, other := figures{amount: 10, per: 10 * time.Second}, `{"limits":{"z":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`
	d := &tuned{tb: t}
	d.setPolicy(noon, l.policy())
	counter := d.terms.Counter
	st, _ := d.spend(State{}, noon, 10)
	d.setPolicy(noon+second, other)
	d.setPolicy(noon+2*second, `{"limits":{}}`)
	d.setPolicy(noon+3*second, other)
	if restarted := d.setPolicy(noon+4*second, l.policy()); restarted != nil || d.terms.Counter != counter {
		t.Errorf("counter %s became %s, restarted %v", counter, d.terms.Counter, restarted)
	}
	if got := d.terms.remaining(d.terms.Advance(st, noon+4*second, Window{})); got != 4 {
		t.Errorf("%d remain, want 4: it drained on at 1 a second", got)
	}
	// Returning as something else starts afresh.
	d.setPolicy(noon+5*second, other)
	d.setPolicy(noon+6*second, `{"limits":{"l":{"scope":"key","kind":"quota","amount":1,"per":"day"}}}`)
	if d.terms.Counter == counter {
		t.Error("a quota took over the counter of a rate")
	}
}

func TestFullPolicyThatSwapsALimitAndBackKeepsItsUsage(t *testing.T) {
	doc := func(last string) string {
		var limits []string
		for i := range MaxLimits - 1 {
			limits = append(limits, fmt.Sprintf(`"n%d":{"scope":"key","kind":"rate","amount":1,"per":"1s","models":["m%d"]}`, i, i))
		}
		return `{"limits":{` + strings.Join(append(limits, `"`+last+`":{"scope":"key","kind":"rate","amount":1,"per":"31d"}`), ",") + `}}`
	}
	d := &tuned{tb: t}
	d.setPolicy(noon, doc("x"))
	before := d.counters()["x"]
	d.setPolicy(noon+1, doc("y"))
	d.setPolicy(noon+2, doc("x"))
	if after := d.counters()["x"]; after != before {
		t.Errorf("counter %s became %s: its usage is forgotten", before, after)
	}
}

func TestRecordRemembersBoundedly(t *testing.T) {
	d := &tuned{tb: t}
	for i := range 300 {
		d.setPolicy(noon+Instant(i), fmt.Sprintf(`{"limits":{"keep":{"scope":"key","kind":"rate","amount":%d,"per":"1s"},"n%d":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`, i+1, i))
		if n := len(d.policy.Tracks); n > 2*MaxLimits {
			t.Fatalf("%d limits are remembered, at most %d may be", n, 2*MaxLimits)
		}
		if n := len(d.policy.Tracks["keep"].Changes); n > maxChanges {
			t.Fatalf("%d changes are remembered, at most %d may be", n, maxChanges)
		}
	}
	if born := d.policy.Tracks["keep"].Born; born != 1 {
		t.Errorf("a limit that was always there is taken for born at revision %d", born)
	}
	if _, ok := d.policy.Tracks["n290"]; !ok {
		t.Error("a limit that is gone since ten revisions is forgotten, older ones are not")
	}
}

func TestOfLimitsThatAreGoneTheOnesGoneLongestAreForgotten(t *testing.T) {
	d := &tuned{tb: t}
	filler := func(i int) string {
		return fmt.Sprintf(`"n%d":{"scope":"key","kind":"rate","amount":1,"per":"1s"}`, i)
	}
	for i := range 100 { // "l" stays while others come and go
		l := figures{amount: 1, per: 31 * day}
		d.setPolicy(noon, `{"limits":{"l":`+l.limit("")+`,`+filler(i)+`}}`)
	}
	before := d.counters()["l"]
	for i := range 3 {
		d.setPolicy(noon, `{"limits":{`+filler(i)+`}}`)
	}
	d.setPolicy(noon, figures{amount: 1, per: 31 * day}.policy())
	if after := d.terms.Counter; after != before {
		t.Errorf("counter %s became %s: gone for three edits, forgotten before those gone for many more", before, after)
	}
}

func TestRevisionsCountAndTagsNeverRepeat(t *testing.T) {
	d := &tuned{tb: t}
	tags := map[string]bool{"": true}
	for i := range int64(20) {
		d.setPolicy(noon, figures{amount: 1 + i%2, per: time.Second}.policy())
		d.setEntry(noon, `{}`)
		for _, r := range []Record{d.policy, d.entry} {
			if r.Revision != i+1 || tags[r.Tag] {
				t.Fatalf("revision %d has tag %q, want a new tag and %d", r.Revision, r.Tag, i+1)
			}
			tags[r.Tag] = true
		}
	}
}

func TestPolicyThatReturnsAfterDeletionNumbersOnAndCountsAfresh(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, figures{amount: 1, per: time.Second}.policy())
	generation, counter := d.policy.Generation, d.terms.Counter
	d.policy = d.policy.successor() // a deletion: the record goes on without a body
	if !d.policy.deleted() || d.policy.Revision != 2 || d.policy.Generation != generation {
		t.Fatalf("deleted: %+v", d.policy)
	}
	if restarted := d.setPolicy(noon, figures{amount: 1, per: time.Second}.policy()); restarted != nil {
		t.Errorf("restarted %v in a policy that did not exist", restarted)
	}
	if d.policy.Revision != 3 || d.policy.Generation == generation || d.terms.Counter == counter {
		t.Errorf("revision %d, generation %s, counter %s", d.policy.Revision, d.policy.Generation, d.terms.Counter)
	}
}

func TestOverriddenPeriodHasACounterOfItsOwn(t *testing.T) {
	d := &tuned{tb: t}
	d.setPolicy(noon, `{"limits":{"l":{"scope":"key","kind":"quota","amount":100,"per":"day"}}}`)
	days := d.terms.Counter
	d.setEntry(noon, `{"limits":{"l":{"amount":5}}}`)
	if d.terms.Counter != days || d.terms.Limit.Amount != 5 {
		t.Errorf("another amount: counter %s, %+v", d.terms.Counter, d.terms.Limit)
	}
	d.setEntry(noon, `{"limits":{"l":{"per":"hour"}}}`)
	hours := d.terms.Counter
	if hours == days || d.terms.Limit.Calendar.Period != Hour {
		t.Errorf("another period: counter %s, %+v", hours, d.terms.Limit.Calendar)
	}
	d.setEntry(noon, `{"limits":{"l":{"per":"hour","amount":7}}}`)
	if d.terms.Counter != hours {
		t.Errorf("another amount of the overridden period: counter %s, want %s", d.terms.Counter, hours)
	}
	d.setEntry(noon, `{}`)
	if d.terms.Counter != days {
		t.Errorf("without the override: counter %s, want %s", d.terms.Counter, days)
	}
	d.setEntry(noon, `{"limits":{"l":{"per":"hour"}}}`)
	if d.terms.Counter != hours {
		t.Errorf("the override again: counter %s, want %s", d.terms.Counter, hours)
	}
}

func TestRecordSurvivesBeingWrittenAsJSON(t *testing.T) {
	d := &tuned{tb: t}
	for i := range int64(20) {
		d.setPolicy(noon+Instant(i), figures{amount: 10 + i, per: time.Second, strict: i%2 == 0}.policy())
	}
	d.setEntry(noon, figures{amount: 3, burstSet: 2, per: time.Minute}.entry())
	for _, r := range []Record{d.policy, d.entry} {
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		var back Record
		if err := json.Unmarshal(b, &back); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(back, r) {
			t.Errorf("%s\n read back as %+v", b, back)
		}
	}
}

func TestWritingARecordLeavesTheOneBeforeAsItWas(t *testing.T) {
	d := &tuned{tb: t}
	for i := range 40 { // every write from here on drops a change
		d.setPolicy(noon+Instant(i), figures{amount: int64(i + 2), per: time.Second}.policy())
		d.setEntry(noon+Instant(i), figures{amount: int64(i + 2)}.entry())
		policy, entry := d.policy, d.entry
		tracks, overrides := maps.Clone(policy.Tracks), maps.Clone(entry.Tracks)
		before := fmt.Sprint(tracks, overrides)
		d.setPolicy(noon+Instant(i), `{"limits":{"z":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`)
		d.setEntry(noon+Instant(i), `{}`)
		if after := fmt.Sprint(policy.Tracks, entry.Tracks); after != before {
			t.Fatalf("a record that readers hold was changed:\n%s\n%s", before, after)
		}
		d.policy, d.entry = policy, entry
	}
}
