package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// fuzzBody has read read a text as the body of a request, from seeds on. No text makes it panic, a refusal names what is
// wrong, and what is accepted encoding/json reads into want, strictly; same says whether that is what read read.
func fuzzBody[T any](f *testing.F, seeds []string, read func(*http.Request) (got any, err error), same func(t *testing.T, got any, want T)) {
	for _, text := range seeds {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := read(posted(string(text)))
		if err != nil {
			checkTuningRefusal(t, err)
			return
		}
		var want T
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("accepted %q, encoding/json says: %v", text, err)
		}
		same(t, got, want)
	})
}

// checkTuningRefusal is checkRefusal as far as the answer.
func checkTuningRefusal(t *testing.T, err error) {
	p := problemOf(err)
	if !slices.Contains([]int{400, 413}, p.status) {
		t.Fatalf("refused with %v", err)
	}
	if text := p.append(nil); !json.Valid(text) || p.status == 400 && len(p.faults) == 0 || len(p.faults) > maxFaults+2 {
		t.Fatalf("answer %s", text)
	}
	for _, fault := range p.faults {
		if fault.Detail == "" || fault.Pointer != "" && !strings.HasPrefix(fault.Pointer, "/") {
			t.Fatalf("fault %+v", fault)
		}
	}
}

func FuzzRotation(f *testing.F) {
	type body struct {
		Key  string `json:"key"`
		Keep string `json:"keep_old_for"`
	}
	type rotation struct {
		to   string
		keep int64
	}
	fuzzBody(f, []string{`{"key":"sk-new"}`, `{"key":"\u0041","keep_old_for":"1d12h"}`, `{"keep_old_for":"-1s","key":"","key":5} x`, `[{}]`},
		func(r *http.Request) (any, error) {
			to, keep, err := readRotation(r, "")
			return rotation{to, int64(keep)}, err
		},
		func(t *testing.T, got any, want body) {
			keep, _ := limiter.ParseDuration(want.Keep)
			if want.Keep == "" {
				keep = defaultKeep
			}
			if got != (rotation{limiter.KeyID(want.Key), int64(keep)}) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		})
}

func FuzzReset(f *testing.F) {
	type body struct {
		KeyID  string   `json:"key_id"`
		Pool   string   `json:"pool"`
		Limits []string `json:"limits"`
		All    bool     `json:"all_keys"`
	}
	fuzzBody(f, []string{`{}`, `{"key_id":"k_0123456789abcdef0123456789abcdef","limits":["rpm"]}`, `{"pool":"a","all_keys":true}`, `{"limits":[1,"a",[]],"pool":null`},
		func(r *http.Request) (any, error) { return readReset(r) },
		func(t *testing.T, got any, want body) {
			q := got.(limiter.ResetQuery)
			if q.KeyID != want.KeyID || q.Pool != want.Pool || q.All != want.All || !slices.Equal(q.Limits, want.Limits) {
				t.Fatalf("got %+v, want %+v", got, want)
			}
		})
}

func FuzzRollback(f *testing.F) {
	type body struct {
		Revision exact `json:"revision"`
	}
	fuzzBody(f, []string{`{"revision":5}`, `{"revision":1e3}`, `{"revision":9223372036854775808}`, `{"revision":5,"revision":6}`},
		func(r *http.Request) (any, error) { return readRollback(r) },
		func(t *testing.T, got any, want body) {
			if got != int64(want.Revision) || want.Revision < 1 {
				t.Fatalf("got %v, want %v", got, want.Revision)
			}
		})
}

func FuzzPreview(f *testing.F) {
	type body struct {
		Policy  json.RawMessage   `json:"policy"`
		Permits []json.RawMessage `json:"permits"`
	}
	fuzzBody(f, []string{`{"permits":[{"key":"a"}]}`, `{"policy":` + rpm + `,"permits":[{"provider":"p","key":"b","cost":{"requests":2}},{"key":""}]}`,
		`{"permits":[{"provider":"q"},7,{"idempotency_key":"a"}],"policy":{"limits":[]}}`},
		func(r *http.Request) (any, error) { return readPreview(r, "p") },
		func(t *testing.T, got any, want body) {
			p := got.(previewBody)
			if len(p.asks) != len(want.Permits) || (p.policy == nil) != (want.Policy == nil) {
				t.Fatalf("got %+v, want %s", got, want)
			}
			if p.policy != nil && !sameJSON(p.policy.Body(), want.Policy) {
				t.Fatalf("policy %s, want %s", p.policy.Body(), want.Policy)
			}
			for _, a := range p.asks {
				if a.Provider != "p" || a.Validate() != nil {
					t.Fatalf("ask %+v", a)
				}
			}
		})
}

func FuzzNewKeys(f *testing.F) {
	for _, text := range []string{`{"key":"sk-1"}`, `[{"key":"a","label":"b","limits":{"rpm":{"amount":5}}},{"pool":"x","key":"\ud83d\ude00","disabled":true}]`,
		`[{"key":1},{}],`, `[]`, `{"l\u0061bel":"a","key":"k"}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := readNewKeys(posted(string(text)))
		if err != nil {
			checkTuningRefusal(t, err)
			return
		}
		var want []map[string]json.RawMessage
		if !got.many {
			text = slices.Concat([]byte("["), text, []byte("]"))
		}
		if err := json.Unmarshal(text, &want); err != nil || len(got.list) != len(want) {
			t.Fatalf("accepted %q as %d keys: %v", text, len(got.list), err)
		}
		for i, k := range got.list {
			var key string
			if err := json.Unmarshal(want[i]["key"], &key); err != nil || k.id != limiter.KeyID(key) {
				t.Fatalf("%q: key %d is %s: %v", text, i, k.id, err)
			}
			delete(want[i], "key")
			entry, err := json.Marshal(want[i])
			if err != nil || !jsonEqual(t, entry, k.doc) {
				t.Fatalf("%q: entry %d is %s: %v", text, i, k.doc, err)
			}
		}
	})
}

// jsonEqual compares documents as encoding/json reads them, with numbers as they are written.
func jsonEqual(t *testing.T, a, b []byte) bool {
	var texts [2][]byte
	for i, doc := range [][]byte{a, b} {
		var v any
		dec := json.NewDecoder(bytes.NewReader(doc))
		dec.UseNumber()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%v in %q", err, doc)
		}
		texts[i], _ = json.Marshal(v)
	}
	return bytes.Equal(texts[0], texts[1])
}

// FuzzPrecondition: what is read of If-Match is there, and nothing is left out.
func FuzzPrecondition(f *testing.F) {
	for _, text := range []string{`"7-ABC"`, `*`, `W/"a", "b,c" ,,""`, `"a`, `"a" "b"`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := readPrecondition(http.Header{"If-Match": {text}})
		if err != nil {
			if !errors.Is(err, limiter.ErrInvalid) {
				t.Fatal(err)
			}
			return
		}
		rest := text
		for _, tag := range p.tags {
			before, after, found := strings.Cut(rest, tag)
			if !found || strings.Trim(before, " \t,") != "" {
				t.Fatalf("%q: %q", text, p.tags)
			}
			rest = after
		}
		if want := map[bool]string{true: "*"}[p.any]; strings.Trim(rest, " \t,") != want || p.absent || p.any == (len(p.tags) > 0) {
			t.Fatalf("%q: %+v", text, p)
		}
	})
}
