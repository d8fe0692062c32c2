package redisstore

import (
	"context"
	"regexp"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// BenchmarkNames shows what Redis takes, in microseconds of its own, for an ask by a key that has a counter, by one that has
// none yet, and by one that is too many.
func BenchmarkNames(b *testing.B) {
	for name, bench := range map[string]struct {
		bound string
		key   func(i int) string
	}{
		"ordinary": {"", func(int) string { return "sk" }},
		"new key":  {"", func(i int) string { return "sk" + strconv.Itoa(i) }},
		"too many": {`"max_unknown_keys":0,`, func(i int) string { return "sk" + strconv.Itoa(i) }},
	} {
		b.Run(name, func(b *testing.B) {
			server := redistest.Start(b)
			c := limiter.New(open(b, server, Options{Timeout: patience}))
			p, err := limiter.ParsePolicy([]byte(`{` + bench.bound + `"limits":{
				"all": {"scope":"provider","kind":"rate","amount":1000000000,"per":"1m"},
				"key": {"scope":"key","kind":"rate","amount":1000000000,"per":"1m"}}}`))
			if err == nil {
				_, err = c.PutPolicy(context.Background(), "p", p, limiter.Edit{})
			}
			if err != nil {
				b.Fatal(err)
			}
			client := server.Client()
			defer client.Close()
			n := 0
			ask := func() {
				n++
				if d, err := c.Acquire(context.Background(), limiter.Ask{Provider: "p", Key: bench.key(n)}); err != nil || !d.Allowed {
					b.Fatal(d, err)
				}
			}
			for range 1000 { // scripts are known, tables have grown
				ask()
			}
			before := scriptTime(b, client)
			for b.Loop() {
				ask()
			}
			b.ReportMetric((scriptTime(b, client)-before)/float64(b.N), "redis-µs/op")
		})
	}
}

var evalshaTime = regexp.MustCompile(`cmdstat_evalsha:calls=\d+,usec=(\d+)`)

// scriptTime is how long Redis has run scripts, in microseconds.
func scriptTime(b *testing.B, c redis.UniversalClient) float64 {
	b.Helper()
	found := evalshaTime.FindStringSubmatch(c.Info(context.Background(), "commandstats").Val())
	if found == nil {
		b.Fatal("Redis has run no script")
	}
	n, _ := strconv.ParseFloat(found[1], 64)
	return n
}
