package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// TestAskFaults: each ask is refused with these faults, in this order, and nothing is charged.
func TestAskFaults(t *testing.T) {
	s, store := newTestServer(t, map[string]string{"p": `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`})
	r := serve(t, s)
	id := limiter.KeyID("k")
	for _, tt := range []struct {
		ask  string
		want string // "pointer: part of the detail", one a line
	}{
		// not JSON
		{`{`, `: malformed JSON: it ends too early`},
		{`{"provider":"p","key":"k"`, `: malformed JSON: it ends too early`},
		{`{"provider":"p","key":"k"} {}`, `: malformed JSON: more follows after the end`},
		{`{"provider":"p","key":"k"},`, `: malformed JSON: `},
		{`{"provider":"p","key":"k","cost":{"requests":NaN}}`, `: malformed JSON: invalid character 'N'`},
		{`{"provider":"p","key":"k","cost":{"requests":01}}`, `: malformed JSON: `},
		{`{"provider":"p","key":"k","cost":{"requests":+1}}`, `: malformed JSON: `},
		{`{"provider":"p","key":"k","model":"` + "\xff" + `"}`, `: malformed JSON: invalid UTF-8`},
		{`{'provider':'p'}`, `: malformed JSON: `},
		{`{"provider":"p",}`, `: malformed JSON: `},
		{strings.Repeat("[", 20000), `: malformed JSON: `},
		{`{"provider":1,"key":`, "/provider: must be a string, not a number\n: malformed JSON: it ends too early"},

		// not an ask
		{`null`, `: must be an object, not null`},
		{`[]`, `: must be an object, not an array`},
		{`"x"`, `: must be an object, not a string`},
		{`{}`, "/provider: is missing\n/key: is missing"},

		// types
		{`{"provider":1,"key":"k"}`, `/provider: must be a string, not a number`},
		{`{"provider":"p","key":["k"]}`, `/key: must be a string, not an array`},
		{`{"provider":"p","key_id":null}`, `/key: is missing`},
		{`{"provider":null,"key":null,"key_id":null}`, "/provider: is missing\n/key: is missing"},
		{`{"provider":"p","key":"k","model":{}}`, `/model: must be a string, not an object`},
		{`{"provider":"p","key":"k","cost":[]}`, `/cost: must be an object, not an array`},
		{`{"provider":"p","key":"k","dry_run":"true"}`, `/dry_run: must be true or false, not a string`},
		{`{"provider":"p","key":"k","hold":"null"}`, `/hold: must be true or false, not a string`},
		{`{"provider":"p","key":"k","hold":nul}`, `: malformed JSON: `},
		{`{"provider":"p","key":"k","hold":1,"ttl_ms":60000}`, `/hold: must be true or false, not a number`},
		{`{"provider":"p","key":"k","ttl_ms":true}`, `/ttl_ms: must be a whole number from 1 to 86400000, not a boolean`},

		// numbers
		{`{"provider":"p","key":"k","cost":{"requests":-1}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not -1`},
		{`{"provider":"p","key":"k","cost":{"requests":1.5}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not 1.5`},
		{`{"provider":"p","key":"k","cost":{"requests":1e-3}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not 1e-3`},
		{`{"provider":"p","key":"k","cost":{"requests":1e400}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not 1e400`},
		{`{"provider":"p","key":"k","cost":{"requests":1.000000000001e12}}`, `/cost/requests: must be a whole number`},
		{`{"provider":"p","key":"k","cost":{"requests":0.9999999999999999999999}}`, `/cost/requests: must be a whole number`},
		{`{"provider":"p","key":"k","cost":{"requests":null}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not null`},
		{`{"provider":"p","key":"k","hold":true,"ttl_ms":1500.5}`, `/ttl_ms: must be a whole number from 1 to 86400000, not 1500.5`},
		{`{"provider":"p","key":"k","cost":{"requests":1000000000001}}`, `/cost/requests: must be a whole number`},
		{`{"provider":"p","key":"k","cost":{"requests":99999999999999999999}}`, `/cost/requests: must be a whole number`},
		{`{"provider":"p","key":"k","cost":{"requests":` + strings.Repeat("9", 1000) + `}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not a number`},
		{`{"provider":"p","key":"k","cost":{"requests":"1"}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not a string`},
		{`{"provider":"p","key":"k","cost":{"requests":true}}`, `/cost/requests: must be a whole number from 0 to 1000000000000, not a boolean`},

		// members
		{`{"provider":"p","key":"k","tokens":5}`, `/tokens: unknown member; known here: provider, key, key_id, model, cost, dry_run, hold, ttl_ms`},
		{`{"Provider":"p","key":"k"}`, "/Provider: unknown member\n/provider: is missing"},
		{`{"provider":"p","key":"k","a/b~c":{"deep":[1]}}`, `/a~1b~0c: unknown member`},
		{`{"provider":"p","key":"k","key":"other"}`, `/key: is given twice`},
		{`{"provider":"p","k\u0065y":"k","key":"other"}`, `/key: is given twice`},
		{`{"provider":"p","key":null,"key":"other"}`, "/key: is given twice"},
		{`{"provider":"p","key":"k","tokens":null}`, `/tokens: unknown member`},
		{`{"provider":"p","key":"k","cost":{"requests":1,"requests":2}}`, `/cost/requests: is given twice`},

		// values
		{`{"provider":"Not A Name","key":"k"}`, `/provider: a provider's name must match`},
		{`{"provider":"p","key":""}`, `/key: must be 1 to 4096 printable characters`},
		{`{"provider":"p","key":"","key_id":"` + id + `"}`, `/key: must be 1 to 4096 printable characters`},
		{`{"provider":"p","key":"a\nb"}`, `/key: must be 1 to 4096 printable characters`},
		{`{"provider":"p","key":"` + strings.Repeat("k", 4097) + `"}`, `/key: must be 1 to 4096 printable characters`},
		{`{"provider":"p","key_id":""}`, `/key_id: must be a key id`},
		{`{"provider":"p","key_id":"sk-1"}`, `/key_id: a key id is k_`},
		{`{"provider":"p","key":"k","key_id":"` + id + `"}`, `/key_id: send key or key_id, not both`},
		{`{"provider":"p","key":"k","model":"` + strings.Repeat("m", 257) + `"}`, `/model: must be 1 to 256 printable characters`},
		{`{"provider":"p","key":"k","cost":{"Requests":1}}`, `/cost/Requests: a unit must match`},
		{`{"provider":"p","key":"k","cost":{"":1}}`, `/cost/: a unit must match`},
		{`{"provider":"p","key":"k","cost":{` + units(33) + `}}`, `/cost: names 33 units; at most 32 are allowed`},

		// what other versions have
		{`{"provider":"p","key":"k","idempotency_key":"a"}`, `/idempotency_key: send it as the Idempotency-Key header`},

		// all at once, in the order of the document; what is missing comes last
		{`{"cost":{"input_tokens":-1,"B":1,"c":"x"},"ttl_ms":5,"x":1,"provider":"P"}`,
			"/cost/input_tokens: must be a whole number\n/cost/c: must be a whole number\n/cost/B: a unit must match\n" +
				"/x: unknown member\n/provider: a provider's name must match\n/key: is missing"},
	} {
		got := r.permit(tt.ask)
		p := got.problem(t, 400, "invalid-request")
		want := strings.Split(tt.want, "\n")
		ok := len(want) == len(p.Errors)
		for i, f := range p.Errors {
			ok = ok && strings.HasPrefix(f.Pointer+": "+f.Detail, want[i])
		}
		if !ok {
			t.Errorf("%.100s\n got %q\nwant %q", tt.ask, p.Errors, want)
		}
		if strings.Contains(got.text, "jsontext") {
			t.Errorf("%.100s: the answer names a library: %s", tt.ask, got.text)
		}
	}
	if store.Len() != 0 {
		t.Errorf("refused asks left %d counters", store.Len())
	}
}

func units(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf(`"u%d":1`, i)
	}
	return strings.Join(list, ",")
}

func TestFaultsAreBounded(t *testing.T) {
	s, _ := newTestServer(t, nil)
	p := serve(t, s).permit(`{"provider":"p","key":"k",`+strings.Replace(units(3000), `"u0":`, `"cost":{"Z":-1},"u0":`, 1)+`}`).
		problem(t, 400, "invalid-request")
	if len(p.Errors) != maxFaults+1 {
		t.Errorf("%d errors", len(p.Errors))
	}
	if last := p.Errors[maxFaults]; last.Pointer != "" || !strings.Contains(last.Detail, "64") {
		t.Errorf("last %+v", last)
	}
}
