package main

import "fmt"

// providers that are asked for, by what they do when Redis fails. All have the same limits.
const (
	shared = iota
	denying
	allowing
	aside // as shared; in a cluster, on another shard
	numProviders
)

var failModes = [numProviders]string{"share", "deny", "allow", "share"}

// The limits. Each is so tight that the load meets it.
const (
	numInstances = 3
	numKeys      = 12
	rpmAmount    = 60 // per second
	rpmBurst     = 15
	keyAmount    = 4 // per second, of each key
	keyBurst     = 3
	fewAmount    = 10 // per month, of each key
	slotAmount   = 4
	second       = 1_000_000 // µs
)

// Models, by which limits tell asks apart.
const (
	modelPlain = "plain"
	modelFew   = "few"  // of which there is a quota
	modelHeld  = "held" // which takes a slot
)

// policies is the file that instances are started with. What month counts is never refused: it shows whether all that was
// granted is charged.
func policies(names [numProviders]string) string {
	text := "providers:\n"
	for i, name := range names {
		text += fmt.Sprintf(`  %s:
    on_store_failure: %s
    limits:
      rpm:     {scope: provider, kind: rate, amount: %d, per: 1s, burst: %d}
      key-rps: {scope: key, kind: rate, amount: %d, per: 1s, burst: %d}
      few:     {scope: key, kind: quota, amount: %d, per: month, models: ["few*"]}
      month:   {scope: provider, kind: quota, amount: 1000000000, per: month, per_model: true}
      slots:   {scope: provider, kind: concurrency, amount: %d, models: ["held*"]}
      tuned:   {scope: key, kind: quota, amount: 1000000, per: month, mode: shadow}
`, name, failModes[i], rpmAmount, rpmBurst, keyAmount, keyBurst, fewAmount, slotAmount)
	}
	return text
}
