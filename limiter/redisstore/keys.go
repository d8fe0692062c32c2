package redisstore

import (
	"strconv"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// layout numbers the way keys and values are written. A permitd with another layout does not touch these.
const layout = "1"

// keys names what is stored.
type keys struct{ prefix string }

func (k keys) providers() string { return k.prefix + ":" + layout + ":providers" }

func (k keys) instances() string { return k.prefix + ":" + layout + ":instances" }

// history is the list of what was written of a policy, the newest first.
func (k keys) history(provider string) string { return k.of(provider) + "history" }

// names is the sorted set of the names of entries.
func (k keys) names(provider string, kind limiter.EntryKind) string {
	return k.of(provider) + string(kind) + "s"
}

// of is what all keys of a provider begin with. Names of providers have no braces, so the hash tag is what it looks like.
func (k keys) of(provider string) string { return k.prefix + ":" + layout + ":{" + provider + "}:" }

func (k keys) document(id limiter.DocID) string {
	if id.Kind == "" {
		return k.of(id.Provider) + "policy"
	}
	return k.of(id.Provider) + string(id.Kind) + ":" + id.Name
}

// probe is in the slot of another key.
func (k keys) probe(key string) string {
	if _, rest, tagged := strings.Cut(key, "{"); tagged {
		key, _, _ = strings.Cut(rest, "}")
	}
	return k.of(key) + "probe"
}

func (k keys) lane(provider, instance string, n int) string {
	return k.of(provider) + "lane:" + instance + ":" + strconv.Itoa(n)
}

// counterID is the identity of a counter within its provider: its dimensions.
type counterID struct{ counter, subject, model string }

func (id counterID) String() string { return id.counter + ":" + id.subject + ":" + id.model }

func (k keys) counter(of string, id counterID) string { return of + "c:" + id.String() }

// hold is the record of a permit.
func (k keys) hold(of string, permitID string) string { return of + "h:" + suffixOf(permitID) }

// permitSuffix is how much of a permit id tells it from others of the same provider.
const permitSuffix = 22

func suffixOf(permitID string) string { return permitID[max(0, len(permitID)-permitSuffix):] }

// slots is the sorted set beside a counter of concurrency.
func (k keys) slots(of string, id counterID) string { return of + "s:" + id.String() }

// once is what is remembered of a grant that is to be made once.
func (k keys) once(of string, id string) string { return of + "i:" + id }
