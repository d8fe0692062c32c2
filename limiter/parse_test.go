package limiter

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// faultsOf are the pointers of an error's faults, in order of the pointers.
func faultsOf(t *testing.T, err error) []string {
	t.Helper()
	var invalid *InvalidError
	if err == nil {
		return nil
	}
	if !errors.As(err, &invalid) || !errors.Is(err, ErrInvalid) || len(invalid.Faults) == 0 {
		t.Fatalf("not an InvalidError with faults: %#v", err)
	}
	var pointers []string
	for _, f := range invalid.Faults {
		if f.Detail == "" || !strings.Contains(err.Error(), f.Detail) {
			t.Errorf("fault at %q: %q is not told in %q", f.Pointer, f.Detail, err)
		}
		pointers = append(pointers, f.Pointer)
	}
	slices.Sort(pointers)
	return pointers
}

// oneLimit is a policy with one limit, "l", of these members on top of the least that a rate needs.
func oneLimit(members string) string {
	least := map[string]json.RawMessage{"scope": json.RawMessage(`"key"`), "kind": json.RawMessage(`"rate"`), "amount": json.RawMessage(`10`), "per": json.RawMessage(`"1m"`)}
	var parts []string
	for _, name := range []string{"scope", "kind", "amount", "per"} {
		if !strings.Contains(members, `"`+name+`":`) {
			parts = append(parts, fmt.Sprintf("%q:%s", name, least[name]))
		}
	}
	if members != "" {
		parts = append(parts, members)
	}
	return `{"limits":{"l":{` + strings.Join(parts, ",") + `}}}`
}

func TestPolicyIsRefusedWithEveryFaultByItsPointer(t *testing.T) {
	for doc, want := range map[string][]string{
		``:                          {""},
		`{`:                         {""},
		`nonsense`:                  {""},
		`{"limits":{}} x`:           {""},
		`{"limits":{}}{}`:           {""},
		`{"limits":{},}`:            {""},
		"{\"limits\":{\"\xff\":1}}": {""},
		`{"limits":"\ud800"}`:       {""},
		`null`:                      {""},
		`[]`:                        {""},
		`5`:                         {""},
		`{}`:                        {""},
		`{"limits":null}`:           {"/limits"},
		`{"limits":[]}`:             {"/limits"},
		`{"limits":{"l":null}}`:     {"/limits/l"},
		`{"limits":{"l":{}}}`:       {"/limits/l", "/limits/l", "/limits/l"}, // scope, kind, amount
		`{"limits":{},"hold_ttl":"999ms","on_store_failure":"maybe","unknown_keys":true,"extra":1}`: {"/extra", "/hold_ttl", "/on_store_failure", "/unknown_keys"},
		`{"limits":{},"unknown_models":"ignore","unknown_units":"allow"}`:                           {"/unknown_models", "/unknown_units"},
		`{"limits":{},"unknown_models":false,"unknown_units":null}`:                                 {"/unknown_models", "/unknown_units"},
		oneLimit(`"required":"yes"`):                                                                         {"/limits/l/required"},
		oneLimit(`"required":null`):                                                                          {"/limits/l/required"},
		`{"limits":{},"hold_ttl":"24h0m1s"}`:                                                                 {"/hold_ttl"},
		`{"limits":{},"max_unknown_keys":-1,"max_models":100000001}`:                                         {"/max_models", "/max_unknown_keys"},
		`{"limits":{},"max_unknown_keys":"1","max_models":null}`:                                             {"/max_models", "/max_unknown_keys"},
		`{"limits":{},"hold_ttl":600}`:                                                                       {"/hold_ttl"},
		`{"limits":{},"hold_ttl":null}`:                                                                      {"/hold_ttl"},
		`{"limits":{},"limits":{}}`:                                                                          {"/limits"},
		`{"limits":{},"hold_ttl":"1m","hold_ttl":"1m"}`:                                                      {"/hold_ttl"},
		`{"limits":{},"a/b~c":1}`:                                                                            {"/a~1b~0c"},
		`{"limits":{"A":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`:                               {"/limits/A"},
		`{"limits":{"":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`:                                {"/limits/"},
		`{"limits":{"-a":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`:                              {"/limits/-a"},
		`{"limits":{"a b":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`:                             {"/limits/a b"},
		`{"limits":{"` + strings.Repeat("a", 65) + `":{"scope":"key","kind":"rate","amount":1,"per":"1s"}}}`: {"/limits/" + strings.Repeat("a", 65)},

		oneLimit(`"scope":"account"`):                                        {"/limits/l/scope"},
		oneLimit(`"scope":null`):                                             {"/limits/l/scope"},
		oneLimit(`"scope":"Key"`):                                            {"/limits/l/scope"},
		oneLimit(`"kind":"gauge"`):                                           {"/limits/l/kind"},
		oneLimit(`"kind":null`):                                              {"/limits/l/kind"},
		oneLimit(`"mode":"off"`):                                             {"/limits/l/mode"},
		oneLimit(`"mode":null`):                                              {"/limits/l/mode"},
		oneLimit(`"amount":0`):                                               {"/limits/l/amount"},
		oneLimit(`"amount":-1`):                                              {"/limits/l/amount"},
		oneLimit(`"amount":1.5`):                                             {"/limits/l/amount"},
		oneLimit(`"amount":1e400`):                                           {"/limits/l/amount"},
		oneLimit(`"amount":1e-1`):                                            {"/limits/l/amount"},
		oneLimit(`"amount":1000000000000.5`):                                 {"/limits/l/amount"},
		oneLimit(`"amount":1.000000000001e12`):                               {"/limits/l/amount"},
		oneLimit(`"amount":1e400`):                                           {"/limits/l/amount"},
		oneLimit(`"amount":1e-400`):                                          {"/limits/l/amount"},
		oneLimit(`"amount":1000000000001`):                                   {"/limits/l/amount"},
		oneLimit(`"amount":18446744073709551617`):                            {"/limits/l/amount"},
		oneLimit(`"amount":"10"`):                                            {"/limits/l/amount"},
		oneLimit(`"amount":true`):                                            {"/limits/l/amount"},
		oneLimit(`"amount":null`):                                            {"/limits/l/amount"},
		oneLimit(`"amount":[10]`):                                            {"/limits/l/amount"},
		oneLimit(`"burst":0`):                                                {"/limits/l/burst"},
		oneLimit(`"burst":1000000000001`):                                    {"/limits/l/burst"},
		oneLimit(`"burst":2.5`):                                              {"/limits/l/burst"},
		oneLimit(`"burst":null`):                                             {"/limits/l/burst"},
		oneLimit(`"per":"999us"`):                                            {"/limits/l/per"},
		oneLimit(`"per":"31d1ns"`):                                           {"/limits/l/per"},
		oneLimit(`"per":"32d"`):                                              {"/limits/l/per"},
		oneLimit(`"per":"1ms500ns"`):                                         {"/limits/l/per"},
		oneLimit(`"per":"-1m"`):                                              {"/limits/l/per"},
		oneLimit(`"per":"+1m"`):                                              {"/limits/l/per"},
		oneLimit(`"per":"1.5d"`):                                             {"/limits/l/per"},
		oneLimit(`"per":"day"`):                                              {"/limits/l/per"},
		oneLimit(`"per":""`):                                                 {"/limits/l/per"},
		oneLimit(`"per":60`):                                                 {"/limits/l/per"},
		oneLimit(`"per":null`):                                               {"/limits/l/per"},
		oneLimit(`"timezone":"UTC"`):                                         {"/limits/l/timezone"},
		oneLimit(`"slack":"1s"`):                                             {"/limits/l/slack"},
		oneLimit(`"strict_window":"yes"`):                                    {"/limits/l/strict_window"},
		oneLimit(`"strict_window":null`):                                     {"/limits/l/strict_window"},
		oneLimit(`"strict_window":true,"burst":10`):                          {"/limits/l"},
		oneLimit(`"strict_window":true,"amount":1`):                          {"/limits/l"},
		oneLimit(`"strict_window":true,"slack":"-1s"`):                       {"/limits/l/slack"},
		oneLimit(`"strict_window":true,"slack":"32d"`):                       {"/limits/l/slack"},
		oneLimit(`"strict_window":true,"slack":"1ns"`):                       {"/limits/l/slack"},
		oneLimit(`"unit":"Tokens"`):                                          {"/limits/l/unit"},
		oneLimit(`"unit":""`):                                                {"/limits/l/unit"},
		oneLimit(`"unit":"1x"`):                                              {"/limits/l/unit"},
		oneLimit(`"unit":"` + strings.Repeat("u", 33) + `"`):                 {"/limits/l/unit"},
		oneLimit(`"unit":null`):                                              {"/limits/l/unit"},
		oneLimit(`"counts":{}`):                                              {"/limits/l/counts"},
		oneLimit(`"counts":{"a":0}`):                                         {"/limits/l/counts"},
		oneLimit(`"counts":{"a":1001}`):                                      {"/limits/l/counts/a"},
		oneLimit(`"counts":{"a":-1,"B":1,"c":0.5}`):                          {"/limits/l/counts/B", "/limits/l/counts/a", "/limits/l/counts/c"},
		oneLimit(`"counts":{"a":1,"a":1}`):                                   {"/limits/l/counts/a"},
		oneLimit(`"counts":["a"]`):                                           {"/limits/l/counts"},
		oneLimit(`"counts":null`):                                            {"/limits/l/counts"},
		oneLimit(`"reserve_counts":{"a":null}`):                              {"/limits/l/reserve_counts/a"},
		oneLimit(`"default_cost":-1`):                                        {"/limits/l/default_cost"},
		oneLimit(`"default_cost":1000000000001`):                             {"/limits/l/default_cost"},
		oneLimit(`"models":[]`):                                              {"/limits/l/models"},
		oneLimit(`"models":"*"`):                                             {"/limits/l/models"},
		oneLimit(`"models":null`):                                            {"/limits/l/models"},
		oneLimit(`"models":["a","",5,"!","\u0007"]`):                         {"/limits/l/models/1", "/limits/l/models/2", "/limits/l/models/3", "/limits/l/models/4"},
		oneLimit(`"models":["` + strings.Repeat("m", 257) + `"]`):            {"/limits/l/models/0"},
		oneLimit(`"per_model":1`):                                            {"/limits/l/per_model"},
		oneLimit(`"brust":5`):                                                {"/limits/l/brust"},
		oneLimit(`"kind":"quota","per":"1h"`):                                {"/limits/l/per"},
		oneLimit(`"kind":"quota","per":"Day"`):                               {"/limits/l/per"},
		oneLimit(`"kind":"quota","per":"day","timezone":"Mars/Olympus"`):     {"/limits/l/timezone"},
		oneLimit(`"kind":"quota","per":"day","timezone":""`):                 {"/limits/l/timezone"},
		oneLimit(`"kind":"quota","per":"day","timezone":"Local"`):            {"/limits/l/timezone"},
		oneLimit(`"kind":"quota","per":"day","timezone":"../../etc/passwd"`): {"/limits/l/timezone"},
		oneLimit(`"kind":"quota","per":"day","timezone":null`):               {"/limits/l/timezone"},
		oneLimit(`"kind":"quota","per":"day","burst":5,"strict_window":true,"slack":"1s"`): {"/limits/l/burst", "/limits/l/slack", "/limits/l/strict_window"},
		oneLimit(`"kind":"gauge","brust":5`):                                               {"/limits/l/brust", "/limits/l/kind"},
		`{"limits":{"l":{"brust":5,"scope":"key","amount":1,"per":"1s"}}}`:                 {"/limits/l", "/limits/l/brust"},
		`{"limits":{"a":{"scope":"key","kind":"rate","amount":0,"per":"1s"},"b":{"scope":"x","kind":"quota","amount":1,"per":"year"}},"hold_ttl":"1"}`: {
			"/hold_ttl", "/limits/a/amount", "/limits/b/per", "/limits/b/scope"},
	} {
		p, err := ParsePolicy([]byte(doc))
		if got := faultsOf(t, err); !slices.Equal(got, want) || p != nil {
			t.Errorf("%.300s\n got %q\nwant %q (%v)", doc, got, want, err)
		}
	}
	for _, doc := range []string{`{"limits":{"l":{"kind":"rate","scope":"key","amount":1}}}`, `{"limits":{"l":{"kind":"quota","scope":"key","amount":1}}}`} {
		if _, err := ParsePolicy([]byte(doc)); !slices.Equal(faultsOf(t, err), []string{"/limits/l"}) || !strings.Contains(err.Error(), "per is missing") {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestConcurrencyHasNeitherPerNorBurst(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"limits":{"inflight":{"scope":"key","kind":"concurrency","amount":8}}}`))
	if err != nil || p.Limits[0].Kind != KindConcurrency || p.Limits[0].Amount != 8 || p.Limits[0].Burst != 8 {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = ParsePolicy([]byte(`{"limits":{"inflight":{"scope":"key","kind":"concurrency","amount":8,"per":"1m","burst":2}}}`))
	if got := faultsOf(t, err); !slices.Equal(got, []string{"/limits/inflight/burst", "/limits/inflight/per"}) {
		t.Errorf("%v", err)
	}
}

func TestFaultsSayWhatIsWrongAndWhatIsAllowed(t *testing.T) {
	for doc, want := range map[string][]string{
		oneLimit(`"amount":0`):           {"from 1 to 1000000000000", "not 0"},
		oneLimit(`"amount":null`):        {"whole number", "not null"},
		oneLimit(`"per":"32d"`):          {"from 1ms to 31d", "not 32d"},
		oneLimit(`"scope":"account"`):    {`"provider" or "pool" or "key"`, `not "account"`},
		oneLimit(`"brust":5`):            {"unknown member", "burst"},
		oneLimit(`"burst":5,"burst":5`):  {"twice"},
		oneLimit(`"unit":"T"`):           {"[a-z][a-z0-9_]{0,31}"},
		oneLimit(`"models":["a",5]`):     {"must be a string, not a number"},
		`{"limits":{},"hold_ttl":"25h"}`: {"from 1s to 1d"},
		`{"limits":`:                     {"malformed JSON"},
	} {
		_, err := ParsePolicy([]byte(doc))
		for _, w := range want {
			if err == nil || !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v\nshould say %q", doc, err, w)
			}
		}
		if err != nil && strings.Contains(err.Error(), "jsontext") {
			t.Errorf("%s: names a library: %v", doc, err)
		}
	}
}

func TestLimitsPerPolicyAndPerAskAreBounded(t *testing.T) {
	doc := func(n int, more string) []byte {
		var limits []string
		for i := range n {
			limits = append(limits, fmt.Sprintf(`"l%d":{"scope":"key","kind":"rate","amount":1,"per":"1s"%s}`, i, more))
		}
		return []byte(`{"limits":{` + strings.Join(limits, ",") + `}}`)
	}
	for _, c := range []struct {
		doc  []byte
		want []string
	}{
		{doc(MaxLimitsPerAsk, ""), nil},
		{doc(MaxLimitsPerAsk+1, ""), []string{"/limits"}},
		{doc(MaxLimits, `,"models":["m"]`), nil},
		{doc(MaxLimits+1, `,"models":["m"]`), []string{"/limits"}},
	} {
		if _, err := ParsePolicy(c.doc); !slices.Equal(faultsOf(t, err), c.want) {
			t.Errorf("%d bytes of limits: %v, want faults at %q", len(c.doc), err, c.want)
		}
	}
}

func TestDeepNestingIsRefusedAndNotFollowed(t *testing.T) {
	for _, doc := range []string{strings.Repeat(`[`, 1e6), strings.Repeat(`{"a":`, 1e5), `{"limits":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `}`} {
		if _, err := ParsePolicy([]byte(doc)); !slices.Equal(faultsOf(t, err), []string{""}) {
			t.Errorf("%.40s: %v", doc, err)
		}
	}
}

func TestDefaultsAreFilledIn(t *testing.T) {
	p, err := ParsePolicy([]byte(`{"limits":{
		"b":{"scope":"provider","kind":"rate","amount":25,"per":"1h30m"},
		"a":{"scope":"pool","kind":"quota","amount":7,"per":"week","unit":"tokens","mode":"shadow"},
		"c":{"scope":"key","kind":"rate","amount":25,"per":"7d","strict_window":true,"counts":{"z":2,"a":1},"default_cost":3},
		"d":{"scope":"key","kind":"rate","amount":9,"per":"1d12h","strict_window":true,"slack":"1.5s","per_model":true}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.OnStoreFailure != FailShare || p.HoldTTL != 10*time.Minute || p.DenyUnknown {
		t.Errorf("%+v", p)
	}
	var got []string
	for _, l := range p.Limits {
		got = append(got, fmt.Sprintln(l.Name, l.Mode, l.Unit, l.Counts, l.ReserveCounts, l.DefaultCost, l.Amount, l.Burst, l.Per, l.Slack, l.spec().rate()))
	}
	want := []string{
		"a shadow tokens tokens=1 tokens=1 0 7 7 0s 0s {7 0}\n",
		"b enforce requests requests=1 requests=1 0 25 25 1h30m0s 0s {25 5400000000}\n",
		"c enforce requests a=1,z=2 a=1,z=2 3 25 2 168h0m0s 0s {23 604800000000}\n",
		"d enforce requests requests=1 requests=1 0 9 1 36h0m0s 1.5s {8 129601500000}\n",
	}
	if !slices.Equal(got, want) {
		t.Errorf("limits by name:\n got %q\nwant %q", got, want)
	}
	if c, d := p.Limit("c"), p.Limit("d"); !c.Strict || c.PerModel || !d.Strict || !d.PerModel {
		t.Errorf("c %+v, d %+v", c, d)
	}
	if z := p.Limit("a").Calendar; z.Period != Week || z.Zone != time.UTC || p.Limit("x") != nil {
		t.Errorf("calendar %+v", z)
	}
}

func TestBoundsThemselvesAreAccepted(t *testing.T) {
	name := strings.Repeat("a", 64)
	for _, doc := range []string{
		`{"limits":{}}`,
		`{"limits":{"` + name + `":{"scope":"key","kind":"rate","amount":1000000000000,"burst":1000000000000,"per":"31d"}}}`,
		`{"limits":{"0.a_b-c":{"scope":"key","kind":"rate","amount":1,"burst":1,"per":"1ms"}}}`,
		oneLimit(`"per":"1001us"`), oneLimit(`"per":"30d24h"`), oneLimit(`"burst":11`), oneLimit(`"per":"0.5h"`),
		oneLimit(`"strict_window":true,"burst":9,"slack":"31d"`), oneLimit(`"strict_window":true,"slack":"0s"`), oneLimit(`"slack":"0s"`),
		oneLimit(`"unit":"` + strings.Repeat("u", 32) + `"`), oneLimit(`"counts":{"a":1000,"b":0}`), oneLimit(`"reserve_counts":{"a":0}`),
		oneLimit(`"default_cost":1000000000000`), oneLimit(`"models":["!a","` + strings.Repeat("é", 256) + `"]`),
		oneLimit(`"kind":"quota","per":"month","timezone":"America/Los_Angeles"`),
		oneLimit(`"amount":1200.00`), oneLimit(`"amount":1.2e3`), oneLimit(`"amount":1e12`), oneLimit(`"default_cost":0e400`),
		oneLimit(`"burst":11.0`), oneLimit(`"counts":{"a":1e3,"b":0.0}`),
		`{"limits":{},"hold_ttl":"1s","unknown_keys":"deny","on_store_failure":"allow"}`, `{"limits":{},"hold_ttl":"24h"}`, `{"limits":{},"hold_ttl":"1d"}`,
		`{"limits":{},"max_unknown_keys":0,"max_models":100000000}`,
	} {
		if _, err := ParsePolicy([]byte(doc)); err != nil {
			t.Errorf("%s: %v", doc, err)
		}
	}
}

func TestDocumentIsKeptAsWritten(t *testing.T) {
	doc := ` { "unknown_keys" : "allow", "limits" : { "z" : {"per":"60s","amount":10 ,"kind":"r\u0061te","scope":"key"},
		"a":{"scope":"key","kind":"rate","amount":1,"per":"1.0h","models":["\u00e9*","é"],"default_cost":-0} } } ` + "\n"
	want := `{"unknown_keys":"allow","limits":{"z":{"per":"60s","amount":10,"kind":"r\u0061te","scope":"key"},` +
		`"a":{"scope":"key","kind":"rate","amount":1,"per":"1.0h","models":["\u00e9*","é"],"default_cost":-0}}}`
	raw := []byte(doc)
	p, err := ParsePolicy(raw)
	if err != nil {
		t.Fatal(err)
	}
	if string(p.Body()) != want {
		t.Errorf("\n got %s\nwant %s", p.Body(), want)
	}
	if string(raw) != doc {
		t.Error("the caller's bytes were changed")
	}
	clear(raw)
	if string(p.Body()) != want {
		t.Error("the body shares the caller's bytes")
	}
}

// TestHugeObjectsAreRefused: looking for members takes time by the square of how many there are.
func TestHugeObjectsAreRefused(t *testing.T) {
	var members []string
	for i := range maxMembers + 1 {
		members = append(members, fmt.Sprintf(`"m%d":0`, i))
	}
	doc := []byte("{" + strings.Join(members, ",") + "}")
	if _, err := ParsePolicy(doc); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "more than 1000 members") {
		t.Errorf("%v", err)
	}
	if err := checkPatch(doc); !errors.Is(err, ErrInvalid) {
		t.Errorf("as a patch: %v", err)
	}
}
