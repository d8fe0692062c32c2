package api

import (
	"testing"
	"time"

	"github.com/permitd/permitd/limiter"
)

func parseEntry(t *testing.T, kind limiter.EntryKind, doc string) *limiter.Entry {
	t.Helper()
	e, err := limiter.ParseEntry(kind, []byte(doc), parsePolicy(t, `{"limits":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestTuningAnswers(t *testing.T) {
	id, to := limiter.KeyID("sk-1"), limiter.KeyID("sk-2")
	at := time.Date(2026, 11, 23, 13, 0, 0, 250_000_000, time.FixedZone("", 3600))
	key := limiter.StoredEntry{Name: id, Revision: 3, Tag: "ABC", Entry: parseEntry(t, limiter.KeyEntry, `{"label": "é","disabled":true}`)}
	rotated := key
	rotated.RotatedTo, rotated.ExpiresAt = to, at
	for _, tt := range []struct{ got, want string }{
		{string(appendNoted(nil, []string{"rpd", "rpm"}, nil)), `,"restarted":["rpd","rpm"]`},
		{string(appendNoted(nil, nil, []string{"tpm"})), `,"misfits":["tpm"]`},
		{string(appendNoted(nil, nil, nil)), ""},
		{string(appendEntry(nil, key)), `{"id":"` + id + `","revision":3,"entry":{"label":"é","disabled":true}`},
		{string(appendEntry(nil, rotated)), `{"id":"` + id + `","revision":3,"entry":{"label":"é","disabled":true},"rotated_to":"` + to + `","disabled_at":"2026-11-23T12:00:00.25Z"`},
		{string(appendHistoryItem(nil, limiter.HistoryItem{Revision: 2, At: at, By: "ann", Note: `a "note"`, Patch: []byte(`{"limits":{"rpm":null}}`)})),
			`{"revision":2,"at":"2026-11-23T12:00:00.25Z","by":"ann","note":"a \"note\"","patch":{"limits":{"rpm":null}}}`},
		{string(appendHistoryItem(nil, limiter.HistoryItem{Revision: 1, At: at})), `{"revision":1,"at":"2026-11-23T12:00:00.25Z","by":null,"note":null,"patch":null}`},
		{string(appendReset(nil, limiter.ResetQuery{Provider: "p"}, []string{"rpm", "tpm"}, 4)), `{"provider":"p","revision":4,"reset":["rpm","tpm"]}`},
		{string(appendReset(nil, limiter.ResetQuery{Provider: "p", KeyID: id}, nil, 4)), `{"provider":"p","key_id":"` + id + `","revision":4,"reset":[]}`},
		{string(appendReset(nil, limiter.ResetQuery{Provider: "p", Pool: "acme"}, []string{"rpd"}, 4)), `{"provider":"p","pool":"acme","revision":4,"reset":["rpd"]}`},
		{string(appendInstance(nil, limiter.Instance{ID: "i\"1", Version: "1.2.3", StartedAt: at, Degraded: true, Applied: map[string]int64{"b": 2, "a": 7}})),
			`{"id":"i\"1","version":"1.2.3","started_at":"2026-11-23T12:00:00.25Z","degraded":true,"applied":{"a":7,"b":2}}`},
		{string(appendInstance(nil, limiter.Instance{ID: "i", StartedAt: at})), `{"id":"i","version":"","started_at":"2026-11-23T12:00:00.25Z","degraded":false,"applied":{}}`},
		{version{7, "ABC"}.etag(), `"7-ABC"`},
	} {
		if tt.got != tt.want {
			t.Errorf("got  %s\nwant %s", tt.got, tt.want)
		}
	}
}
