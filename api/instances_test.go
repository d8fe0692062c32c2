package api

import (
	"context"
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func TestInstances(t *testing.T) {
	s, _ := newTestServer(t, map[string]string{"p": rpm})
	r := serve(t, s)
	if got := r.get("/v1/instances"); got.status != 200 || got.text != `{"items":[],"next_cursor":null}` {
		t.Errorf("before any takes part: %d %s", got.status, got.text)
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		s.coordinator.Attend(ctx, "1.2.3")
		close(left)
	}()
	defer func() { cancel(); <-left }()
	for deadline := time.Now().Add(10 * time.Second); s.coordinator.Self() == nil && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r.wrote(200, "PATCH", "/v1/providers/p", `{"hold_ttl":"1m"}`)
	got := r.get("/v1/instances")
	var doc struct{ Items []limiter.Instance }
	decode(t, got.text, &doc)
	if len(doc.Items) != 1 || doc.Items[0].ID == "" || doc.Items[0].Version != "1.2.3" || doc.Items[0].Degraded || doc.Items[0].Applied["p"] != 2 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	if want := `{items:[{id:string version:string started_at:string degraded:bool applied:{p:number}}] next_cursor:null}`; shape(t, got.text) != want {
		t.Errorf("shape %s", got.text)
	}
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", got.header.Get("Cache-Control"))
	}
}
