package limiter

import (
	"bytes"
	"errors"
	"reflect"
	"testing"
)

// samePolicyAgain parses what was accepted once more, from the body that it kept.
func samePolicyAgain(t *testing.T, p *Policy) {
	again, err := ParsePolicy(p.Body())
	if err != nil {
		t.Fatalf("accepted, but its body %s is not: %v", p.Body(), err)
	}
	if !bytes.Equal(again.Body(), p.Body()) || !reflect.DeepEqual(again, p) {
		t.Fatalf("%s reads back as another policy", p.Body())
	}
}

func FuzzParsePolicy(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"limits":{}}`, entryPolicy, oneLimit(`"models":["*:free","!x"],"per_model":true`), oneLimit(`"amount":1e400`),
		oneLimit(`"kind":"quota","per":"month","timezone":"Africa/Cairo"`), oneLimit(`"strict_window":true,"slack":"1.5s"`),
		oneLimit(`"counts":{"a":1,"b":0},"reserve_counts":{"a":2},"unit":"t","default_cost":-0`),
		`{"limits":{"l":{"kind":"concurrency","scope":"key","amount":1}},"hold_ttl":"1d","on_store_failure":"deny","unknown_keys":"deny"}`,
		`{"limits":{"\u006c":{"scope":"key"}}}`, "\xff", `{"a":{"a":[{"b":1}]}}`, `[[[[`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		kept := bytes.Clone(doc)
		p, err := ParsePolicy(doc)
		if !bytes.Equal(doc, kept) {
			t.Fatal("the document was changed")
		}
		var invalid *InvalidError
		if err != nil {
			if !errors.As(err, &invalid) || len(invalid.Faults) == 0 || p != nil {
				t.Fatalf("refused without saying why: %v", err)
			}
			return
		}
		for _, l := range p.Limits {
			if l.Amount < 1 || l.Burst < 1 || l.Amount > MaxAmount || l.Burst > MaxAmount || l.Kind == KindRate && (l.spec().rate().Units < 1 || l.spec().rate().Per < 1000) {
				t.Fatalf("%s is out of bounds: %+v", l.Name, l)
			}
		}
		samePolicyAgain(t, p)
	})
}

func FuzzParseEntry(f *testing.F) {
	for _, s := range []string{
		`{}`, `{"label":"prod","pool":"acme","disabled":true}`, `{"limits":{"r":{"amount":1,"burst":2,"per":"1m","mode":"shadow"}}}`,
		`{"limits":{"q":{"per":"hour"},"s":{"burst":1},"pr":{"amount":1}}}`, `{"limits":{"r":null}}`, `{"a/b":1,"a/b":1}`,
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	policy, err := ParsePolicy([]byte(entryPolicy))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, doc []byte, key bool) {
		kind := PoolEntry
		if key {
			kind = KeyEntry
		}
		e, err := ParseEntry(kind, doc, policy)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || e != nil {
				t.Fatalf("refused without saying why: %v", err)
			}
			return
		}
		for _, again := range []func() (*Entry, error){
			func() (*Entry, error) { return ParseEntry(kind, e.Body(), policy) },
			func() (*Entry, error) { return loadEntry(kind, e.Body()) },
		} {
			if got, err := again(); err != nil || !reflect.DeepEqual(got, e) {
				t.Fatalf("%s reads back as %+v, %v", e.Body(), got, err)
			}
		}
	})
}
