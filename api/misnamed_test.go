package api

import (
	"slices"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// TestMisnamedLimits: who names a limit that there is not is told so, and which was meant.
func TestMisnamedLimits(t *testing.T) {
	const gpt = `{"scope":"pool","kind":"rate","amount":500,"per":"1m"}`
	r, _ := tuned(t, map[string]string{"p": `{"limits":{"gpt-4o-rpm":` + gpt + `,"gpt-4o-tpm":` + gpt + `,"free":{"scope":"key","kind":"rate","amount":5,"per":"1m"}}}`})
	const p = "/v1/providers/p"
	for _, tt := range []struct {
		method, path, body string
		want               string // "pointer: detail", one a line
	}{
		{"PATCH", p, `{"limits":{"gpt4o-rpm":{"amount":600}}}`, "/limits/gpt4o-rpm: no limit of this name; did you mean gpt-4o-rpm?"},
		{"PATCH", p, `{"limits":{"gpt-4o-rmp":{"amount":0,"burst":-1,"x":{}}}}`, "/limits/gpt-4o-rmp: no limit of this name; did you mean gpt-4o-rpm?"},
		{"PATCH", p, `{"limits":{"a~/b":{"amount":1}}}`, "/limits/a~0~1b: no limit of this name; a new one needs its kind, scope and amount"},
		{"PATCH", p, `{"x":1,"limits":{"another":{},"gpt-4o-rpm":{"amount":0},"fre":{"amount":1}}}`,
			"/limits/another: no limit of this name; a new one needs its kind, scope and amount\n/limits/fre: no limit of this name; did you mean free?\n" +
				"/limits/gpt-4o-rpm/amount: must be a whole number\n/x: unknown member"},
		{"PATCH", p, `{"limits":{"new":{"kind":"rate","amount":600}}}`, "/limits/new: scope is missing\n/limits/new: per is missing"},
		{"PATCH", p, `{"limits":{"new":7}}`, "/limits/new: must be an object"},
		{"PATCH", p, `{"limits":7}`, "/limits: must be an object"},
		{"PATCH", p + "/keys/" + limiter.KeyID("k"), `{"limits":{"fee":{"amount":1}}}`, "/limits/fee: the policy has no limit of this name; did you mean free?"},
		{"PUT", p + "/pools/acme", `{"limits":{"gpt-4-rpm":{"amount":1}}}`, "/limits/gpt-4-rpm: the policy has no limit of this name; did you mean gpt-4o-rpm?"},
		{"POST", p + "/reset", `{"limits":["gpt-4o-rp"]}`, "/limits/0: the policy has no limit of this name; did you mean gpt-4o-rpm?"},
	} {
		if tt.method == "PATCH" && strings.Contains(tt.path, "/keys/") {
			r.wrote(201, "PUT", tt.path, `{}`)
		}
		got := r.tune(tt.method, tt.path, tt.body).problem(t, 400, "invalid-request")
		checkFaults(t, tt.body, &limiter.InvalidError{Faults: sortedFaults(got.Errors)}, tt.want)
	}
	r.wrote(200, "PATCH", p, `{"limits":{"none":null}}`)
	r.wrote(200, "PATCH", p, `{"limits":{"new":`+gpt+`}}`)
}

// sortedFaults are faults by their pointers, for those that are found in no order.
func sortedFaults(faults []limiter.Fault) []limiter.Fault {
	slices.SortStableFunc(faults, func(a, b limiter.Fault) int { return strings.Compare(a.Pointer, b.Pointer) })
	return faults
}
