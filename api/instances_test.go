package api

import "testing"

// TestInstances: an embedded store has one instance, which says what it applies.
func TestInstances(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": rpm})
	r.wrote(200, "PATCH", "/v1/providers/p", `{"hold_ttl":"1m"}`)
	got := r.get("/v1/instances")
	var doc struct {
		Items []struct {
			ID       string
			Degraded *bool
			Applied  map[string]int64
		}
	}
	decode(t, got.text, &doc)
	if len(doc.Items) != 1 || doc.Items[0].ID == "" || doc.Items[0].Degraded == nil || *doc.Items[0].Degraded || doc.Items[0].Applied["p"] != 2 {
		t.Fatalf("%d %s", got.status, got.text)
	}
	if want := `{items:[{id:string version:string started_at:string degraded:bool applied:{p:number}}] next_cursor:null}`; shape(t, got.text) != want {
		t.Errorf("shape %s", got.text)
	}
	if got.header.Get("Cache-Control") != "no-store" {
		t.Errorf("Cache-Control %q", got.header.Get("Cache-Control"))
	}
}
