package policyfile

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
	"pgregory.net/rapid"

	"github.com/permitd/permitd/limiter"
)

// written is the text of a file that holds documents.
func written(t interface{ Fatal(...any) }, providers []limiter.ProviderDocs) string {
	var text bytes.Buffer
	w := NewWriter(&text)
	for _, p := range providers {
		w.Provider(p.Provider, p.Policy)
		for _, e := range p.Entries {
			w.Entry(e.Name, e.Entry)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Size() != int64(text.Len()) {
		t.Fatal("size is", w.Size(), "of", text.Len())
	}
	return text.String()
}

func TestWriter(t *testing.T) {
	const text = `providers:
  acme:
    unknown_keys: deny
    limits:
      tpm: {scope: pool, kind: rate, unit: tokens, amount: 1000000000000, per: 1h30m, strict_window: true, models: ["a/*", "!b", c/d]}
      "on": {per: day, amount: 1, scope: key, kind: quota, timezone: Europe/Berlin}
    pools:
      "1e3": {label: "", disabled: false}
      paid: {limits: {tpm: {amount: 5000}}}
    keys:
      k_2c26b46b68ffc68ff99b453c1d304134: {pool: "1e3", label: "2026-10-01"}
  "null":
    limits: {}
    hold_ttl: 1m
  "0x1f":
    limits: {}
    keys:
      k_2c26b46b68ffc68ff99b453c1d304134: {}
`
	f, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	byName := map[string]limiter.ProviderDocs{}
	for _, p := range f.Providers {
		byName[p.Provider] = p
	}
	if got := written(t, []limiter.ProviderDocs{byName["acme"], byName["null"], byName["0x1f"]}); got != text {
		t.Errorf("wrote\n%swant\n%s", got, text)
	}
	if got := written(t, nil); got != "providers: {}\n" {
		t.Errorf("wrote %q of nothing", got)
	}
}

// TestWriterKeepsStarter: what people wrote by hand comes back as it was.
func TestWriterKeepsStarter(t *testing.T) {
	want := Starter().Providers
	same(t, want, written(t, want))
}

// same checks that a text holds documents, byte for byte.
func same(t interface {
	Fatalf(string, ...any)
	Errorf(string, ...any)
}, want []limiter.ProviderDocs, text string) {
	f, err := Parse("p.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	if got, want := dump(f.Providers), dump(want); got != want {
		t.Errorf("read\n%swant\n%sfrom\n%s", got, want, text)
	}
}

func dump(providers []limiter.ProviderDocs) string {
	var b strings.Builder
	for _, p := range providers {
		fmt.Fprintf(&b, "%s %s\n", p.Provider, p.Policy.Body())
		for _, e := range p.Entries {
			fmt.Fprintf(&b, "  %s %s %s\n", e.Entry.Kind, e.Name, e.Entry.Body())
		}
	}
	return b.String()
}

var (
	// oddNames are names that YAML may take for something else.
	oddNames = rapid.OneOf(rapid.StringMatching(`[a-z0-9][a-z0-9._-]{0,12}`),
		rapid.SampledFrom([]string{"on", "off", "y", "n", "yes", "no", "true", "null", "1e3", "0x1f", "0o7", "010", "1", "1.5", "2026-10-01", "1_000", "nan", "inf", "a.", "0b1", "12e03"}))
	oddTexts = rapid.OneOf(
		rapid.SampledFrom([]string{"on", "~", "1e3", " a ", "a: b", "# no", "- a", "'", `"`, `\`, "{a}", "*a", "&a", "!a", "%a", "@a", "`a", "| a", "> a", "<<", "=", "--- a", "...", "?", "é", "日本語", "😀 smile", "e\u0301", "1:30", "x\u200dy"}),
		rapid.StringMatching(`[ -~]{0,40}`), rapid.StringN(0, 30, -1))
)

// document draws a JSON document of a limit, in any order of members.
func drawLimit(t *rapid.T) (limit []byte, scope string) {
	scope = rapid.SampledFrom([]string{"provider", "pool", "key"}).Draw(t, "scope")
	members := []string{`"scope":` + quoted(scope), fmt.Sprintf(`"amount":%d`, rapid.Int64Range(1, 1e12).Draw(t, "amount"))}
	switch rapid.IntRange(0, 2).Draw(t, "kind") {
	case 0:
		members = append(members, `"kind":"rate"`, `"per":`+quoted(rapid.SampledFrom([]string{"1m", "60s", "1h30m", "7d", "1500ms"}).Draw(t, "per")))
	case 1:
		members = append(members, `"kind":"quota"`, `"per":"day"`, `"timezone":"America/Argentina/Buenos_Aires"`)
	default:
		members = append(members, `"kind":"concurrency"`)
	}
	if globs := rapid.SliceOfN(rapid.StringMatching(`[!]?[*a-z0-9/:~#&@ .-]{1,9}`), 0, 4).Draw(t, "models"); len(globs) > 0 {
		for i := range globs {
			globs[i] = quoted(globs[i])
		}
		members = append(members, `"models":[`+strings.Join(globs, ",")+"]")
	}
	return object(rapid.Permutation(members).Draw(t, "order")), scope
}

func quoted(s string) string {
	text, _ := jsontext.AppendQuote(nil, s)
	return string(text)
}

func object(members []string) []byte {
	return []byte("{" + strings.Join(members, ",") + "}")
}

// drawProvider draws a provider's documents; nil when limiter refuses them.
func drawProvider(t *rapid.T, name string) *limiter.ProviderDocs {
	docs := &limiter.ProviderDocs{Provider: name}
	var limits []string
	ofScope := map[string][]string{}
	for _, name := range rapid.SliceOfNDistinct(oddNames, 0, 4, rapid.ID).Draw(t, "limits") {
		limit, scope := drawLimit(t)
		limits = append(limits, quoted(name)+":"+string(limit))
		ofScope[scope] = append(ofScope[scope], name)
	}
	members := []string{`"limits":` + string(object(limits)), `"hold_ttl":"10m"`, `"unknown_keys":"deny"`}
	var err error
	if docs.Policy, err = limiter.ParsePolicy(object(rapid.Permutation(members).Draw(t, "order"))); err != nil {
		return nil
	}
	entry := func(kind limiter.EntryKind, name string) {
		var overrides []string
		for _, l := range ofScope[string(kind)] {
			overrides = append(overrides, fmt.Sprintf(`%s:{"amount":%d}`, quoted(l), rapid.Int64Range(1, 1e12).Draw(t, "amount")))
		}
		doc := object([]string{`"label":` + quoted(oddTexts.Draw(t, "label")), `"limits":` + string(object(overrides))})
		if e, err := limiter.ParseEntry(kind, doc, docs.Policy); err == nil {
			docs.Entries = append(docs.Entries, limiter.EntryDoc{Name: name, Entry: e})
		}
	}
	pools := rapid.SliceOfNDistinct(oddNames, 0, 3, rapid.ID).Draw(t, "pools")
	for _, name := range sorted(pools) {
		entry(limiter.PoolEntry, name)
	}
	var keys []string
	for range rapid.IntRange(0, 3).Draw(t, "keys") {
		keys = append(keys, limiter.KeyID(fmt.Sprint(len(keys))))
	}
	for _, id := range sorted(keys) {
		entry(limiter.KeyEntry, id)
	}
	return docs
}

// TestWriterRoundTrip: whatever documents limiter takes, a file of them holds them byte for byte, and says the same to a
// reader of YAML who knows nothing of policies.
func TestWriterRoundTrip(t *testing.T) {
	entries := 0
	rapid.Check(t, func(t *rapid.T) {
		var want []limiter.ProviderDocs
		for _, name := range sorted(rapid.SliceOfNDistinct(oddNames, 0, 3, rapid.ID).Draw(t, "providers")) {
			if docs := drawProvider(t, name); docs != nil {
				want = append(want, *docs)
				entries += len(docs.Entries)
			}
		}
		text := written(t, want)
		same(t, want, text)
		var plain struct {
			Providers map[string]map[string]any `yaml:"providers"`
		}
		if err := yaml.Unmarshal([]byte(text), &plain); err != nil || len(plain.Providers) != len(want) {
			t.Fatalf("%v: %d providers in\n%s", err, len(plain.Providers), text)
		}
	})
	if entries == 0 {
		t.Error("no entries were drawn")
	}
}

func TestWriterErrors(t *testing.T) {
	f := Starter().Providers[0]
	full := errors.New("disk full")
	w := NewWriter(failing{full})
	if err := w.Provider("a", f.Policy); !errors.Is(err, full) {
		t.Errorf("error %v", err)
	}
	if err := w.Close(); !errors.Is(err, full) {
		t.Errorf("error %v at the end", err)
	}
	w = NewWriter(&bytes.Buffer{})
	w.Provider("a", f.Policy)
	w.Entry("k_2c26b46b68ffc68ff99b453c1d304134", &limiter.Entry{Kind: limiter.KeyEntry})
	if err := w.Entry("p", &limiter.Entry{Kind: limiter.PoolEntry}); err == nil {
		t.Error("no error of pools after keys")
	}
}

type failing struct{ error }

func (f failing) Write([]byte) (int, error) { return 0, f.error }

func sorted(names []string) []string { return slices.Sorted(slices.Values(names)) }
