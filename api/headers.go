package api

import (
	"net/http"
	"strconv"
	"time"

	"github.com/dunglas/httpsfv"
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/permitd/permitd/limiter"
)

// setRateLimitFields sets RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers-11): one item for every
// enforced limit that applied and counts requests, or slots. Without such a limit there are no fields. A denial gets
// Retry-After.
func setRateLimitFields(h http.Header, d *limiter.Decision) {
	var room [2][256]byte
	policy, limit := room[0][:0], room[1][:0]
	for i := range d.Limits {
		l := &d.Limits[i]
		if l.Mode != limiter.Enforce || l.Unit != limiter.DefaultUnit && l.Kind != limiter.KindConcurrency {
			continue
		}
		if len(policy) > 0 {
			policy, limit = append(policy, ", "...), append(limit, ", "...)
		}
		text := textOf(l)
		policy = append(policy, text.policy...)
		limit = append(limit, text.name...)
		limit = strconv.AppendInt(append(limit, ";r="...), l.Remaining, 10)
		if l.NextUnit > 0 {
			limit = strconv.AppendInt(append(limit, ";t="...), ceil(l.NextUnit, time.Second), 10)
		}
	}
	if len(policy) > 0 {
		values := []string{string(policy), string(limit)}
		h["Ratelimit-Policy"], h["Ratelimit"] = values[:1:1], values[1:]
	}
	if !d.Allowed {
		h["Retry-After"] = []string{strconv.FormatInt(max(1, ceil(d.RetryAfter, time.Second)), 10)}
	}
}

// fieldTexts remembers what items have in common from answer to answer: serialising it anew each time would take a third
// as long as all the rest of a permit.
var fieldTexts = must(lru.New[fieldKey, fieldText](4096))

// fieldKey is what the texts of a limit depend on.
type fieldKey struct {
	name   string
	amount int64
	window time.Duration
	slots  bool // of concurrency
}

// fieldText are structured field items: the one of RateLimit-Policy, and the one of RateLimit as far as its name.
type fieldText struct{ policy, name string }

func textOf(l *limiter.LimitStatus) fieldText {
	key := fieldKey{l.Name, l.Amount, l.Window, l.Kind == limiter.KindConcurrency}
	text, ok := fieldTexts.Get(key)
	if !ok {
		text = key.text()
		fieldTexts.Add(key, text)
	}
	return text
}

// text serialises what is in the key. A window is shown in whole seconds or not at all.
func (k fieldKey) text() fieldText {
	item := httpsfv.NewItem(k.name)
	name := must(httpsfv.Marshal(item))
	item.Params.Add("q", k.amount)
	if k.slots {
		item.Params.Add("qu", "concurrent-requests")
	}
	if k.window > 0 && k.window%time.Second == 0 {
		item.Params.Add("w", int64(k.window/time.Second))
	}
	return fieldText{policy: must(httpsfv.Marshal(item)), name: name}
}

// must is for what can't fail: the names and amounts of a policy are such as a field can carry.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
