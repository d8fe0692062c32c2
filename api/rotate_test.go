package api

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// TestRotate: the new key has the entry and the usage of the old one, which goes on working for a while.
func TestRotate(t *testing.T) {
	r, log := tuned(t, map[string]string{"p": scopes})
	sk2 := limiter.KeyID("sk-2")
	r.wrote(201, "PUT", keys1, `{"label":"prod","limits":{"rpm":{"burst":3}}}`)
	r.permit(`{"provider":"p","key":"sk-1"}`)

	got, doc := r.wrote(200, "POST", keys1+"/rotate", `{"key":"sk-2"}`)
	if doc.ID != sk2 || doc.RotatedTo != "" || string(doc.Entry) != `{"label":"prod","limits":{"rpm":{"burst":3}}}` || got.header.Get("Location") != "" {
		t.Errorf("%s", got.text)
	}
	if read := r.get("/v1/providers/p/keys/" + sk2); read.header.Get("ETag") != got.header.Get("ETag") || read.text != got.text {
		t.Errorf("the new one is %s, was %s", read.text, got.text)
	}
	var old resource
	decode(t, r.get(keys1).text, &old)
	if old.ID != sk1 || old.RotatedTo != sk2 || old.DisabledAt != "2026-11-24T12:00:00Z" || string(old.Entry) != string(doc.Entry) {
		t.Errorf("the old one is %+v", old)
	}
	if got := r.permit(`{"provider":"p","key":"sk-2"}`); got.status != 200 || !strings.Contains(got.text, `"cost":1,"remaining":1,`) {
		t.Errorf("the second permit: %s", got.text)
	}
	if got := r.permit(`{"provider":"p","key":"sk-1"}`); got.status != 200 || !strings.Contains(got.text, `"cost":1,"remaining":0,`) {
		t.Errorf("the third permit: %s", got.text)
	}
	if strings.Contains(log.String(), "sk-") {
		t.Error("a key was logged")
	}
}

func TestRotateAtOnce(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	r.wrote(201, "PUT", keys1, `{}`)
	r.wrote(200, "POST", keys1+"/rotate", `{"key":"sk-2","keep_old_for":"0s"}`)
	r.permit(`{"provider":"p","key":"sk-1"}`).problem(t, 403, "key-disabled")
	if got := r.permit(`{"provider":"p","key":"sk-2"}`); got.status != 200 {
		t.Errorf("%d %s", got.status, got.text)
	}
}

// TestRotateAgain: sent again it changes for how long the old key is good, which its DELETE ends; and the old key may come back.
func TestRotateAgain(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	sk2 := limiter.KeyID("sk-2")
	rotate, keys2 := keys1+"/rotate", "/v1/providers/p/keys/"+sk2
	r.wrote(201, "PUT", keys1, `{"label":"prod"}`)
	until := func(id, want string) {
		t.Helper()
		var doc resource
		decode(t, r.get("/v1/providers/p/keys/"+id).text, &doc)
		if doc.DisabledAt != want || (doc.RotatedTo != "") != (want != "") || string(doc.Entry) != `{"label":"prod"}` {
			t.Errorf("%+v, want disabled_at %q", doc, want)
		}
	}
	for _, tt := range []struct{ keep, until string }{{"2h", "2026-11-23T14:00:00Z"}, {"1h", "2026-11-23T13:00:00Z"}} {
		if got, doc := r.wrote(200, "POST", rotate, `{"key":"sk-2","keep_old_for":"`+tt.keep+`"}`); doc.ID != sk2 || string(doc.Entry) != `{"label":"prod"}` {
			t.Errorf("%s", got.text)
		}
		until(sk1, tt.until)
		until(sk2, "")
	}
	if p := r.tune("POST", rotate, `{"key":"sk-3"}`).problem(t, 400, "invalid-request"); p.pointers() != "/key_id" || !strings.Contains(p.Errors[0].Detail, sk2) {
		t.Errorf("%q", p.Errors)
	}
	r.wrote(204, "DELETE", keys1, "")
	until(sk1, "2026-11-23T12:00:00Z")
	until(sk2, "")
	r.permit(`{"provider":"p","key":"sk-1"}`).problem(t, 403, "key-disabled")
	if _, doc := r.wrote(200, "POST", keys2+"/rotate", `{"key":"sk-1","keep_old_for":"1h"}`); doc.ID != sk1 {
		t.Errorf("back: %+v", doc)
	}
	until(sk1, "")
	until(sk2, "2026-11-23T13:00:00Z")
	for _, key := range []string{"sk-1", "sk-2"} {
		if got := r.permit(`{"provider":"p","key":"` + key + `"}`); got.status != 200 {
			t.Errorf("%s: %d %s", key, got.status, got.text)
		}
	}
}

func TestRotateRefused(t *testing.T) {
	r, _ := tuned(t, map[string]string{"p": scopes})
	r.tune("POST", keys1+"/rotate", `{"key":"sk-2"}`).problem(t, 404, "not-found")
	r.tune("POST", "/v1/providers/nobody/keys/"+sk1+"/rotate", `{"key":"sk-2"}`).problem(t, 404, "unknown-provider")
	got, _ := r.wrote(201, "PUT", keys1, `{}`)
	r.wrote(201, "POST", "/v1/providers/p/keys", `{"key":"sk-2"}`)
	for _, header := range []string{"If-Match:", "If-Match: *", "If-Match: " + got.header.Get("ETag")} {
		p := r.tune("POST", keys1+"/rotate", `{"key":"sk-2"}`, header).problem(t, 412, "precondition-failed")
		if !strings.Contains(p.Detail, "the new key has an entry already") {
			t.Errorf("%s: %s", header, p.Detail)
		}
	}
	r.tune("POST", keys1+"/rotate", `{"key":"sk-3"}`, `If-Match: "1-ABC"`).revision(t)
	if read := r.get(keys1); read.header.Get("ETag") != got.header.Get("ETag") {
		t.Errorf("rotated all the same: %s", read.text)
	}
	r.wrote(200, "POST", keys1+"/rotate", `{"key":"sk-3"}`, "If-Match: "+got.header.Get("ETag"))
	r.tune("POST", "/v1/providers/p/keys", `{"key":"sk-1"}`).revision(t) // what is there will end
}
