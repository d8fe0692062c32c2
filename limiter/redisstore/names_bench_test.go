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

// BenchmarkNames shows how much of a processor's time Redis takes, in microseconds, for an ask by a key that has a counter, by one that has
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
			before := redisTime(b, client)
			for b.Loop() {
				ask()
			}
			b.ReportMetric((redisTime(b, client)-before)/float64(b.N), "redis-µs/op")
		})
	}
}

var mainThreadTime = regexp.MustCompile(`used_cpu_(?:user|sys)_main_thread:([0-9.]+)`)

// redisTime is how much of a processor's time Redis has used for commands, in microseconds.
func redisTime(b *testing.B, c redis.UniversalClient) (total float64) {
	b.Helper()
	found := mainThreadTime.FindAllStringSubmatch(c.Info(context.Background(), "cpu").Val(), -1)
	if len(found) != 2 {
		b.Fatal("Redis does not say how much time it uses")
	}
	for _, f := range found {
		seconds, _ := strconv.ParseFloat(f[1], 64)
		total += seconds * 1e6
	}
	return total
}
