package redisstore

import (
	"bytes"
	"context"
	"log/slog"
	"strconv"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

func TestNearlyFullRedisIsSaidOnce(t *testing.T) {
	server := redistest.Start(t)
	var out bytes.Buffer
	s := open(t, server, Options{Timeout: patience, Logger: slog.New(slog.NewTextHandler(&out, nil))})
	ctx := context.Background()
	look := func() (said string) {
		t.Helper()
		s.memory.looked = s.memory.looked.Add(-memoryPause)
		if _, err := s.Instances(ctx, &limiter.Instance{ID: "i"}); err != nil {
			t.Fatal(err)
		}
		said = out.String()
		out.Reset()
		return said
	}
	used := func() float64 { return s.Nodes()[0].Memory }

	if said := look(); said != "" || used() != 0 {
		t.Fatalf("a Redis without a bound is %v full: %s", used(), said)
	}
	client := server.Client()
	defer client.Close()
	bound := func(fraction float64) {
		t.Helper()
		info, err := redisclient.Info(ctx, client, "memory")
		if err != nil {
			t.Fatal(err)
		}
		used, err := strconv.ParseFloat(info["used_memory"], 64)
		if err != nil {
			t.Fatal(err)
		}
		server.Do("config", "set", "maxmemory", int64(used/fraction))
	}
	bound(0.5)
	if said := look(); said != "" || used() < 0.4 || used() > 0.6 {
		t.Fatalf("half full is %v full: %s", used(), said)
	}
	bound(0.9)
	if said := look(); strings.Count(said, "nearly full") != 1 || used() < 0.8 {
		t.Fatalf("%v full: %q", used(), said)
	}
	if said := look(); said != "" {
		t.Fatalf("said again: %s", said)
	}
	bound(0.5)
	if said := look(); !strings.Contains(said, "has room again") {
		t.Fatalf("%v full: %q", used(), said)
	}
	if _, err := s.Instances(ctx, &limiter.Instance{ID: "i"}); err != nil || s.memory.due() {
		t.Fatalf("%v; it is looked at again at once", err)
	}
}
