package main

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter/policyfile"
)

// exported is what export writes, checked to be a file that check takes and apply finds nothing to change in.
func exported(t *testing.T, i *instance, stderr string, args ...string) string {
	t.Helper()
	code, text, gotErr := call(t, "", append([]string{"export", "--url", i.url}, args...)...)
	if code != 0 || gotErr != stderr {
		t.Fatalf("exit %d, stderr\n%swant\n%s", code, gotErr, stderr)
	}
	path := file(t, "exported.yaml", text)
	if code, _, stderr := call(t, "", "check", path); code != 0 {
		t.Errorf("check: exit %d, %s\n%s", code, stderr, text)
	}
	return text
}

// unchanged checks that apply finds nothing to change in a text.
func unchanged(t *testing.T, i *instance, text string) {
	t.Helper()
	path := file(t, "exported.yaml", text)
	code, stdout, stderr := call(t, "", "apply", "--dry-run", "--url", i.url, path)
	if code != 0 || !strings.HasSuffix(stdout, strings.ReplaceAll(nothing, "FILE", path)) {
		t.Errorf("exit %d, %q, %q of\n%s", code, stdout, stderr, text)
	}
}

// TestExport: documents come back as they were written, whatever YAML may take them for.
func TestExport(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", emptyPolicies))
	if text := exported(t, i, ""); text != emptyPolicies {
		t.Errorf("exported %q of nothing", text)
	}
	for path, body := range map[string]string{
		"/v1/providers/on":  `{"limits":{"null":{"per":"day","kind":"quota","amount":1000000000000,"scope":"pool","models":["*:free","!a/*","#no: {yes}"]}},"unknown_keys":"deny"}`,
		"/v1/providers/1e3": `{"hold_ttl":"90s","unknown_models":"deny","unknown_units":"deny","limits":{"010":{"scope":"key","kind":"rate","unit":"on","counts":{"y":0,"on":1000},"required":true,"amount":7,"per":"31d","strict_window":true}}}`,
	} {
		if status, text := i.send("PUT", path, body); status != 201 {
			t.Fatalf("%d %s", status, text)
		}
	}
	for path, body := range map[string]string{
		"on/pools/0x1f":      `{"limits":{"null":{"mode":"shadow","amount":3}},"label":"~"}`,
		"on/pools/no":        `{"label":"日本 \u0026 😀: \"quoted\" \\ 'single' #1 ","disabled":false}`,
		"on/keys/" + key1:    `{"pool":"0x1f","label":"1e3","disabled":true}`,
		"1e3/keys/" + key2:   `{"label":"2026-10-01","pool":"no"}`,
		"1e3/pools/x":        `{}`,
		"1e3/pools/12345678": `{"label":"y"}`,
	} {
		if status, text := i.send("PUT", "/v1/providers/"+path, body); status != 201 {
			t.Fatalf("%s: %d %s", path, status, text)
		}
	}
	first := `  "1e3":
    hold_ttl: 90s
    unknown_models: deny
    unknown_units: deny
    limits:
      "010": {scope: key, kind: rate, unit: "on", counts: {"y": 0, "on": 1000}, required: true, amount: 7, per: 31d, strict_window: true}
    pools:
      "12345678": {label: "y"}
      x: {}
    keys:
      ` + key2 + `: {label: "2026-10-01", pool: "no"}
`
	second := `  "on":
    limits:
      "null": {per: day, kind: quota, amount: 1000000000000, scope: pool, models: ["*:free", "!a/*", "#no: {yes}"]}
    unknown_keys: deny
    pools:
      "0x1f": {limits: {"null": {mode: shadow, amount: 3}}, label: "~"}
      "no": {label: "日本 & \U0001F600: \"quoted\" \\ 'single' #1 ", disabled: false}
    keys:
      ` + key1 + `: {pool: "0x1f", label: "1e3", disabled: true}
`
	for _, tt := range []struct {
		names []string
		want  string
	}{
		{nil, first + second},
		{[]string{"1e3"}, first},
		{[]string{"on", "1e3", "on"}, second + first},
	} {
		text := exported(t, i, "", tt.names...)
		if want := "providers:\n" + tt.want; text != want {
			t.Errorf("%q: exported\n%swant\n%s", tt.names, text, want)
		}
		unchanged(t, i, text)
	}

	// what was exported makes another permitd the same
	other := start(t, "--policies", file(t, "p.yaml", emptyPolicies))
	if code, _, stderr := call(t, "", "apply", "--url", other.url, file(t, "p.yaml", "providers:\n"+first+second)); code != 0 {
		t.Errorf("exit %d, %q", code, stderr)
	}
	if text := exported(t, other, ""); text != "providers:\n"+first+second {
		t.Errorf("the other exports\n%s", text)
	}

	code, _, stderr := call(t, "", "export", "--url", i.url, "on", "nobody")
	if want := "permitd: nobody: " + i.url + " has no such provider: check the name against GET /v1/providers; what was written is not whole\n"; code != 1 || stderr != want {
		t.Errorf("exit %d, %q", code, stderr)
	}
}

// TestExportStarter: so do policies that come with permitd.
func TestExportStarter(t *testing.T) {
	i := start(t)
	unchanged(t, i, exported(t, i, ""))
}

// TestRotatedKeys: a file names the key in use. What a file can't say is said.
func TestRotatedKeys(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", "providers: {a: {limits: {}, keys: {"+key1+": {label: one}}}}\n"))
	if status, text := i.send("POST", "/v1/providers/a/keys/"+key1+"/rotate", `{"key":"`+rawKeys[1]+`","keep_old_for":"24h"}`); status/100 != 2 {
		t.Fatalf("%d %s", status, text)
	}
	code, text, stderr := call(t, "", "export", "--url", i.url)
	if want := "providers:\n  a:\n    limits: {}\n    keys:\n      " + key2 + ": {label: one}\n"; code != 0 || text != want {
		t.Errorf("exit %d, exported\n%swant\n%s", code, text, want)
	}
	if want := "permitd: a: key " + key1 + " is left out: it was rotated to " + key2 + ", and a file can't say that it stands for it until 20"; !strings.HasPrefix(stderr, want) {
		t.Errorf("said %s", stderr)
	}
	unchanged(t, i, text)

	// a file from before: it says nothing new
	before := file(t, "p.yaml", "providers: {a: {limits: {}, keys: {"+key1+": {label: one}}}}\n")
	applied(t, i.url, before, 0, "a: 1 key is not in the file and stays as it is\n"+nothing, "")
	// to disable the old key is not to disable the new one
	before = file(t, "p.yaml", "providers: {a: {hold_ttl: 1m, limits: {}, keys: {"+key1+": {label: one, disabled: true}}}}\n")
	applied(t, i.url, before, 1, "", "permitd: a: key "+key1+" was rotated to "+key2+" and shares its entry: name that one in the file instead, and take this one out\n"+
		"permitd: nothing was changed\n")
}

// TestExportLeavesOut: overrides that the policy has no use for any more would make a file that check refuses.
func TestExportLeavesOut(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", "providers: {a: {limits: {x: {scope: key, kind: concurrency, amount: 3}, z: {scope: key, kind: concurrency, amount: 3}}, keys: {"+
		key1+": {label: one, limits: {x: {amount: 1}, z: {amount: 2}}}}}}\n"))
	if status, text := i.send("PUT", "/v1/providers/a", `{"limits":{"x":{"scope":"pool","kind":"concurrency","amount":3},"y":{"scope":"key","kind":"concurrency","amount":3}}}`); status != 200 {
		t.Fatalf("%d %s", status, text)
	}
	text := exported(t, i, "permitd: a: key "+key1+": left out what has no effect under the policy: overrides of x, z\n")
	if !strings.HasSuffix(text, key1+": {label: one, limits: {}}\n") {
		t.Errorf("exported\n%s", text)
	}
}

// TestManyKeys: lists are read page by page, and nothing is lost between pages.
func TestManyKeys(t *testing.T) {
	i := start(t, "--policies", file(t, "p.yaml", "providers: {a: {limits: {}}}\n"))
	const n = 5000
	registerKeys(i, "a", n)
	text := exported(t, i, "")
	if got := strings.Count(text, "\n      k_"); got != n {
		t.Errorf("exported %d keys", got)
	}
	unchanged(t, i, text)
	f, err := policyfile.Parse("exported.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	gone := f.Providers[0].Entries[n/2].Name
	i.send("DELETE", "/v1/providers/a/keys/"+gone, "")
	applied(t, i.url, file(t, "p.yaml", text), 0, "a: key "+gone+" created\n1 change made\n", "")
	if text := exported(t, i, ""); strings.Count(text, "\n      k_") != n {
		t.Errorf("exported %d keys afterwards", strings.Count(text, "\n      k_"))
	}
}
