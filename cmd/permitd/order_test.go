package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// Keys are numbered here in the order of their ids, in which they are written.
var (
	rawKeys    = slices.SortedFunc(slices.Values([]string{"sk-1", "sk-2", "sk-3"}), func(a, b string) int { return strings.Compare(limiter.KeyID(a), limiter.KeyID(b)) })
	shortNames = strings.NewReplacer(limiter.KeyID(rawKeys[0]), "K1", limiter.KeyID(rawKeys[1]), "K2", limiter.KeyID(rawKeys[2]), "K3")
	longNames  = strings.NewReplacer("K1", limiter.KeyID(rawKeys[0]), "K2", limiter.KeyID(rawKeys[1]), "K3", limiter.KeyID(rawKeys[2]))
)

// admits reports whether a permit is given to a key at the moment.
func (i *instance) admits(key string) bool {
	i.t.Helper()
	status, text := i.permit(`{"provider":"a","key":"` + key + `","dry_run":true}`)
	if status != 200 && status != 403 && status != 404 {
		i.t.Fatalf("%d %s", status, text)
	}
	return status == 200
}

// TestApplyOrder: between any two writes no key is admitted that is admitted neither before all of them nor after, and
// none refused that is admitted before and after.
func TestApplyOrder(t *testing.T) {
	const none = "    limits: {}\n"
	some := "    limits: {rpm: {scope: key, kind: quota, amount: 9, per: day}}\n"
	for _, tt := range []struct {
		name, before, after string // what is below the provider; "" before: no provider
		writes              string // what is written, in order: policy and names of entries
	}{
		{"new", "", none + "    pools: {off: {disabled: true}}\n    keys: {K1: {disabled: true}, K2: {pool: off}, K3: {}}\n", "policy off K1 K2 K3 policy"},
		{"new, keys only by entry", "", "    unknown_keys: deny\n" + none + "    keys: {K1: {disabled: true}, K2: {}}\n", "policy K1 K2"},
		{"new, no keys", "", none + "    pools: {off: {disabled: true}}\n", "policy off"},
		{"opened", "    unknown_keys: deny\n" + none, some + "    keys: {K1: {disabled: true}, K2: {limits: {rpm: {amount: 1}}}}\n", "K1 policy K2 policy"},
		{"opened, nothing else", "    unknown_keys: deny\n" + none, none + "    keys: {K1: {disabled: true}}\n", "K1 policy"},
		{"closed", none, "    unknown_keys: deny\n" + none + "    keys: {K1: {}, K2: {}}\n", "K1 K2 policy"},
		{"closed, and more", "    unknown_keys: allow\n" + none, "    unknown_keys: deny\n" + some + "    keys: {K1: {limits: {rpm: {amount: 1}}}, K2: {}}\n", "policy K1 K2 policy"},
		{"disabled under other limits", none + "    keys: {K1: {label: one}}\n", some + "    keys: {K1: {label: one, disabled: true, limits: {rpm: {amount: 1}}}, K2: {}}\n", "K1 policy K1 K2"},
		{"a pool opens when its keys have left", none + "    pools: {off: {disabled: true}, on: {}}\n    keys: {K1: {pool: off}, K2: {pool: on}}\n",
			none + "    pools: {off: {}, on: {disabled: true}, new: {disabled: true}}\n    keys: {K1: {pool: new}, K2: {pool: on}}\n", "new on K1 off"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text := func(below string) string {
				if below == "" {
					return emptyPolicies
				}
				return "providers:\n  a:\n" + longNames.Replace(below)
			}
			i := start(t, "--policies", file(t, "before.yaml", text(tt.before)))
			keys := []string{"sk-1", "sk-2", "sk-3", "sk-unknown"}
			var moments [][]bool
			look := func() {
				var now []bool
				for _, k := range keys {
					now = append(now, i.admits(k))
				}
				moments = append(moments, now)
			}
			look()
			f := newFront(t, i, func(w http.ResponseWriter, r *http.Request, n int) bool {
				if r.Method == "PUT" && len(moments) > 0 {
					look()
				}
				return false
			})
			after := file(t, "after.yaml", text(tt.after))
			if code, stdout, stderr := call(t, "", "apply", "--url", f.URL, after); code != 0 {
				t.Fatalf("exit %d, %q, %q", code, stdout, stderr)
			}
			look()
			first, last := moments[0], moments[len(moments)-1]
			for n, now := range moments {
				for k := range keys {
					if first[k] == last[k] && now[k] != first[k] || tt.before == "" && now[k] && !last[k] {
						t.Errorf("after %d writes: %s admitted %v, before %v, in the end %v", n-1, keys[k], now[k], first[k], last[k])
					}
				}
			}
			var wrote []string
			for _, line := range f.writes() {
				name := line[strings.LastIndex(line, "/")+1:]
				wrote = append(wrote, shortNames.Replace(map[bool]string{true: "policy", false: name}[name == "a"]))
			}
			if got := strings.Join(wrote, " "); got != tt.writes {
				t.Errorf("wrote %s, want %s", got, tt.writes)
			}
			applied(t, i.url, after, 0, nothing, "")
		})
	}
}
