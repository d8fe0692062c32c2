package api

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

// posted is a request with a body of JSON.
func posted(body string) *http.Request {
	r, _ := http.NewRequest("POST", "/", bytes.NewReader([]byte(body)))
	r.Header.Set("Content-Type", "application/json")
	return r
}

// checkFaults checks that an error has these faults, in this order: "pointer: part of the detail", one a line.
func checkFaults(t *testing.T, body string, err error, want string) {
	t.Helper()
	var invalid *limiter.InvalidError
	if want == "" {
		if err != nil {
			t.Errorf("%.100s: %v", body, err)
		}
		return
	}
	if !errors.As(err, &invalid) {
		t.Errorf("%.100s: %v, want %s", body, err, want)
		return
	}
	lines := strings.Split(want, "\n")
	ok := len(lines) == len(invalid.Faults)
	for i, f := range invalid.Faults {
		ok = ok && strings.HasPrefix(f.Pointer+": "+f.Detail, lines[i])
	}
	if !ok {
		t.Errorf("%.100s\n got %q\nwant %q", body, invalid.Faults, lines)
	}
}

func TestRotationFaults(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"key":"sk-new"}`, ""},
		{`{"key":"sk-new","keep_old_for":"0s"}`, ""},
		{`{"key":"sk-new","keep_old_for":"365d"}`, ""},

		{``, `: malformed JSON: it ends too early`},
		{`{"key":"sk-new"`, `: malformed JSON: it ends too early`},
		{`{"key":"sk-new"} x`, `: malformed JSON: `},
		{`null`, `: must be an object, not null`},
		{`["sk-new"]`, `: must be an object, not an array`},
		{`{}`, `/key: is missing: send the new API key`},
		{`{"key":1}`, `/key: must be a string, not a number`},
		{`{"key":""}`, `/key: must be 1 to 4096 printable characters`},
		{`{"key":"a\u0000"}`, `/key: must be 1 to 4096 printable characters`},
		{`{"key":"` + strings.Repeat("k", 4097) + `"}`, `/key: must be 1 to 4096 printable characters`},
		{`{"key":"sk-old"}`, `/key: is the key that is rotated: send the new one`},
		{`{"key":"sk-new","keep_old_for":24}`, `/keep_old_for: must be a string, not a number`},
		{`{"key":"sk-new","keep_old_for":"-1s"}`, `/keep_old_for: must be a duration from 0s to 365d`},
		{`{"key":"sk-new","keep_old_for":"366d"}`, `/keep_old_for: must be a duration from 0s to 365d`},
		{`{"key":"sk-new","keep_old_for":""}`, `/keep_old_for: must be a duration from 0s to 365d`},
		{`{"key":"a","key":"b"}`, `/key: is given twice`},
		{`{"new_key":"a","keep_old_for":"x"}`, "/new_key: unknown member; known here: key, keep_old_for\n" +
			"/keep_old_for: must be a duration\n/key: is missing"},
		{`{"key":"sk-secret","keep_old_for":`, `: malformed JSON`},
	} {
		to, keep, err := readRotation(posted(tt.body), limiter.KeyID("sk-old"))
		checkFaults(t, tt.body, err, tt.want)
		if err == nil && (to != limiter.KeyID("sk-new") || keep < 0) {
			t.Errorf("%s: %s, %v", tt.body, to, keep)
		}
	}
	if _, keep, _ := readRotation(posted(`{"key":"k"}`), ""); keep != 24*time.Hour {
		t.Errorf("kept for %v", keep)
	}
}

func TestResetFaults(t *testing.T) {
	id := limiter.KeyID("sk-1")
	for _, tt := range []struct{ body, want string }{
		{`{}`, ""},
		{`{"key_id":"` + id + `","limits":["rpm","tpm"]}`, ""},
		{`{"pool":"acme","all_keys":false}`, ""},
		{`{"limits":["rpm"],"all_keys":true}`, ""},

		{``, `: malformed JSON: it ends too early`},
		{`[]`, `: must be an object, not an array`},
		{`{"key":"sk-1"}`, `/key: unknown member; known here: key_id, pool, limits, all_keys`},
		{`{"key_id":"sk-1"}`, `/key_id: a key id is k_`},
		{`{"key_id":""}`, `/key_id: a key id is k_`},
		{`{"key_id":null,"pool":null}`, "/key_id: must be a string, not null\n/pool: must be a string, not null"},
		{`{"pool":""}`, `/pool: must be the name of a pool`},
		{`{"pool":"A B"}`, `/pool: must be the name of a pool`},
		{`{"limits":"rpm"}`, `/limits: must be an array of 1 to 64 strings, not a string; leave it out`},
		{`{"limits":[]}`, `/limits: must be an array of 1 to 64 strings, not of 0; leave it out`},
		{`{"limits":["rpm",1,null]}`, "/limits/1: must be a string, not a number\n/limits/2: must be a string, not null"},
		{`{"limits":[` + strings.Repeat(`"a",`, 64) + `"a"]}`, `/limits: must be an array of 1 to 64 strings, not of 65`},
		{`{"all_keys":"true"}`, `/all_keys: must be true or false, not a string`},
		{`{"pool":"a","pool":"b"}`, `/pool: is given twice`},
		{`{"limits":["rpm"}`, `: malformed JSON`},
	} {
		_, err := readReset(posted(tt.body))
		checkFaults(t, tt.body, err, tt.want)
		if err != nil && strings.Contains(err.Error(), "sk-1") {
			t.Errorf("%s: what may be a key is repeated: %v", tt.body, err)
		}
	}
}

func TestRollbackFaults(t *testing.T) {
	for _, tt := range []struct{ body, want string }{
		{`{"revision":5}`, ""},
		{`{}`, `/revision: is missing: name one that GET`},
		{`{"revision":0}`, `/revision: must be a whole number from 1 to`},
		{`{"revision":-1}`, `/revision: must be a whole number from 1 to`},
		{`{"revision":"5"}`, `/revision: must be a whole number from 1 to`},
		{`{"revision":5.5}`, `/revision: must be a whole number from 1 to`},
		{`{"revision":null,"note":"x"}`, "/revision: must be a whole number\n/note: unknown member; known here: revision"},
		{`{"revision":5,"revision":6}`, `/revision: is given twice`},
		{`5`, `: must be an object, not a number`},
	} {
		_, err := readRollback(posted(tt.body))
		checkFaults(t, tt.body, err, tt.want)
	}
}

func TestPreviewFaults(t *testing.T) {
	const policy = `{"limits":{"rpm":{"scope":"key","kind":"rate","amount":60,"per":"1m"}}}`
	asks := func(n int) string { return strings.TrimSuffix(strings.Repeat(`{"key":"k"},`, n), ",") }
	for _, tt := range []struct{ body, want string }{
		{`{"policy":` + policy + `,"permits":[{"key":"k"},{"provider":"p","key":"k","dry_run":true,"hold":true,"ttl_ms":5}]}`, ""},
		{`{"permits":[` + asks(100) + `]}`, ""},
		{`{"policy":` + policy + `,"permits":[]}`, ""},

		{``, `: malformed JSON: it ends too early`},
		{`[]`, `: must be an object, not an array`},
		{`{}`, `/permits: is missing: send an array of up to 100 asks`},
		{`{"permits":{}}`, `/permits: must be an array of up to 100 asks, not an object`},
		{`{"permits":[` + asks(101) + `]}`, `/permits: must be an array of up to 100 asks, not of 101`},
		{`{"permits":[],"permits":[]}`, `/permits: is given twice`},
		{`{"policies":{},"permits":[]}`, `/policies: unknown member; known here: policy, permits`},
		{`{"policy":null,"permits":[]}`, `/policy: must be an object, not null`},
		{`{"policy":{"limits":{"rpm":{"scope":"town","kind":"rate","amount":0,"per":"1m"}},"x":1},"permits":[7,{"key":"k","idempotency_key":"a"},{"key":"k"},{"provider":"q","key":"k"},{"cost":{"requests":-1}},{}]}`,
			"/policy/limits/rpm/scope: must be\n/policy/limits/rpm/amount: must be\n/policy/x: unknown member\n" +
				"/permits/0: must be an object, not a number\n" +
				"/permits/1/idempotency_key: unknown member; known here: provider, key, key_id, model, cost, dry_run, hold, ttl_ms\n" +
				"/permits/3/provider: must be the provider of the path\n" +
				"/permits/4/cost/requests: must be a whole number\n/permits/4/key: is missing\n" +
				"/permits/5/key: is missing"},
		{`{"permits":[{"provider":"A B","key":"k"}]}`, `/permits/0/provider: a provider's name must match`},
		{`{"permits":[{"provider":1,"key":"k"}]}`, `/permits/0/provider: must be a string, not a number`},
		{`{"permits":[{"key":"k"},{]}`, `: malformed JSON`},
		{`{"policy":{"limits":{}},"permits":[`, `: malformed JSON: it ends too early`},
	} {
		p, err := readPreview(posted(tt.body), "p")
		checkFaults(t, tt.body, err, tt.want)
		if err != nil {
			continue
		}
		for i, a := range p.asks {
			if a.Provider != "p" || a.Key != "" || a.KeyID != limiter.KeyID("k") {
				t.Errorf("%.100s: ask %d is %+v", tt.body, i, a)
			}
		}
	}
}

func TestNewKeysFaults(t *testing.T) {
	const all = `{"key":"sk-1","label":"prod","pool":"acme","limits":{"rpm": {"amount":5}},"disabled":false}`
	many := func(n int) string { return "[" + strings.TrimSuffix(strings.Repeat(`{"key":"k"},`, n), ",") + "]" }
	for _, tt := range []struct{ body, want string }{
		{all, ""},
		{"[" + all + "]", ""},
		{many(1000), ""},

		{``, `: malformed JSON: it ends too early`},
		{`"sk-1"`, `: must be an object, not a string`},
		{`[]`, `: must be an array of 1 to 1000 keys, not of 0`},
		{many(1001), `: must be an array of 1 to 1000 keys, not of 1001`},
		{`{}`, `/key: is missing: send the API key`},
		{`{"key":"k"}{}`, `: malformed JSON: more follows`},
		{`{"key":"k","key_id":"x"}`, `/key_id: unknown member; known here: key, label, pool, limits, disabled`},
		{`{"key":"k","label":"a","label":"b"}`, `/label: is given twice`},
		{`[{"key":"k"},{"key":""},{"Key":"k"},7,{"key":null}]`, "/1/key: must be 1 to 4096 printable characters\n" +
			"/2/Key: unknown member\n/2/key: is missing\n/3: must be an object, not a number\n/4/key: must be a string, not null"},
		{`[{"key":"k"},{"key":5},{]`, "/1/key: must be a string\n: malformed JSON"},
	} {
		keys, err := readNewKeys(posted(tt.body))
		checkFaults(t, tt.body, err, tt.want)
		if err == nil && keys.many != strings.HasPrefix(tt.body, "[") {
			t.Errorf("%.100s: many %v", tt.body, keys.many)
		}
	}
	keys, _ := readNewKeys(posted(`[` + all + `,{"key":"sk-2"}]`))
	if got, want := fmt.Sprintf("%s", keys.list), fmt.Sprintf("[{/0 %s %s} {/1 %s {}}]", limiter.KeyID("sk-1"),
		`{"label":"prod","pool":"acme","limits":{"rpm": {"amount":5}},"disabled":false}`, limiter.KeyID("sk-2")); got != want {
		t.Errorf("got %s\nwant %s", got, want)
	}
}

func TestSameJSON(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want bool
	}{
		{`{}`, ` { } `, true},
		{`{"label":"a","pool":"b"}`, `{"pool":"b","label":"\u0061"}`, true},
		{`{"limits":{"rpm":{"amount":1000000000000}}}`, `{"limits":{"rpm":{"amount":999999999999}}}`, false},
		{`{"label":"a"}`, `{}`, false},
		{`{"disabled":false}`, `{}`, false},
	} {
		if got := sameJSON([]byte(tt.a), []byte(tt.b)); got != tt.want {
			t.Errorf("%s and %s: %v", tt.a, tt.b, got)
		}
	}
}
