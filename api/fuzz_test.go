package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// FuzzAsk: no text makes the reader panic, a refusal names what is wrong, and what is accepted is what encoding/json
// reads.
func FuzzAsk(f *testing.F) {
	for _, text := range []string{
		ask,
		`{"provider":"p","key_id":"k_0123456789abcdef0123456789abcdef","cost":{"requests":0},"dry_run":true,"hold":false}`,
		`{"provider":"p","key":"k","hold":true,"ttl_ms":60000}`,
		`{"provider":"p","key":"\u0041\ud83d\ude00","model":"a\/b"}`,
		`{"provider":"p","key":"k","cost":{"a":1e3,"b":-1,"b":2}} x`,
		`{"k\u0065y":1,"":[{}],"cost":7`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, _ := http.NewRequest("POST", "/v1/permits", bytes.NewReader(text))
		r.Header.Set("Content-Type", "application/json")
		got, err := readOneAsk(r)
		if err != nil {
			checkRefusal(t, err)
			return
		}
		var want struct {
			Provider string           `json:"provider"`
			Key      string           `json:"key"`
			KeyID    string           `json:"key_id"`
			Model    string           `json:"model"`
			Cost     map[string]exact `json:"cost"`
			DryRun   bool             `json:"dry_run"`
			Hold     bool             `json:"hold"`
			TTL      exact            `json:"ttl_ms"`
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("accepted %q, encoding/json says: %v", text, err)
		}
		if got.Provider != want.Provider || got.Key != want.Key || got.KeyID != want.KeyID || got.Model != want.Model ||
			got.DryRun != want.DryRun || got.Hold != want.Hold || got.TTL.Milliseconds() != int64(want.TTL) {
			t.Fatalf("%q: got %+v, want %+v", text, got, want)
		}
		checkCosts(t, text, got.Cost, want.Cost)
	})
}

// FuzzSettle is the same for the body that settles a permit.
func FuzzSettle(f *testing.F) {
	for _, text := range []string{`{"cost":{"output_tokens":250}}`, `{"cost":{}}`, `{"cost":{"a":0,"A":1},"ttl_ms":1}`, `{"idempotency_key":"a"} x`, `[{}]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		r, _ := http.NewRequest("POST", "/v1/permits/p/settle", bytes.NewReader(text))
		r.Header.Set("Content-Type", "application/json")
		got, err := readSome(r, settleMembers, limiter.Fault{Pointer: "/cost", Detail: "is missing"})
		if err != nil {
			checkRefusal(t, err)
			return
		}
		var want struct {
			Cost map[string]exact `json:"cost"`
		}
		dec := json.NewDecoder(bytes.NewReader(text))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&want); err != nil || want.Cost == nil {
			t.Fatalf("accepted %q, encoding/json reads %v: %v", text, want.Cost, err)
		}
		checkCosts(t, text, got.Cost, want.Cost)
	})
}

// exact is a whole number that encoding/json reads however it is written.
type exact int64

func (e *exact) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		return nil
	}
	r, ok := new(big.Rat).SetString(string(text))
	if !ok || !r.IsInt() || !r.Num().IsInt64() {
		return fmt.Errorf("%s is not a whole number", text)
	}
	*e = exact(r.Num().Int64())
	return nil
}

func checkCosts(t *testing.T, text []byte, got limiter.Costs, want map[string]exact) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%q: cost %+v, want %v", text, got, want)
	}
	for _, c := range got {
		if n, ok := want[c.Unit]; !ok || int64(n) != c.Amount {
			t.Fatalf("%q: cost %+v, want %d", text, c, n)
		}
	}
}

func checkRefusal(t *testing.T, err error) {
	var invalid *limiter.InvalidError
	if !errors.As(err, &invalid) {
		if !errors.Is(err, error(errBodyTooLarge)) {
			t.Fatalf("refused with %v", err)
		}
		return
	}
	if len(invalid.Faults) == 0 || len(invalid.Faults) > maxFaults+2 {
		t.Fatalf("%d faults", len(invalid.Faults))
	}
	if i := slices.IndexFunc(invalid.Faults, func(f limiter.Fault) bool {
		return f.Detail == "" || f.Pointer != "" && !strings.HasPrefix(f.Pointer, "/")
	}); i >= 0 {
		t.Fatalf("fault %+v", invalid.Faults[i])
	}
	if text := problemOf(err).append(nil); !json.Valid(text) {
		t.Fatalf("answer %s", text)
	}
}
