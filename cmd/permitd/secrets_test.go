package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// TestSecretsStayOut sends API keys and tokens in every way there is, right and wrong, and looks for them in all that
// permitd answers, logs and stores.
func TestSecretsStayOut(t *testing.T) {
	server := redistest.Start(t)
	const operator, app, wrong = "operator-token-0123456789", "permits-token-0123456789", "wrong-token-0123456789"
	var keys []string
	for n := range 9 {
		keys = append(keys, fmt.Sprintf("sk-secret-%d-ABCDEF", n))
	}
	i := start(t, "--redis-url", server.URL(), "--log-level", "debug", "--policies", file(t, "p.yaml", goodPolicies),
		"--tokens", "operator:ops:"+operator+",permits:app:"+app)
	var answers strings.Builder
	send := func(token, method, path, body string) string {
		t.Helper()
		req, err := http.NewRequest(method, i.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			req.Header.Set("Content-Type", "application/merge-patch+json")
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := i.client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		head, _ := httputil.DumpResponse(resp, false)
		text, _ := io.ReadAll(resp.Body)
		fmt.Fprintf(&answers, "%s %s\n", head, text)
		return string(text)
	}
	const p = "/v1/providers/openrouter"
	granted := 0
	for _, token := range []string{app, operator, wrong} {
		for _, body := range []string{
			`{"provider":"openrouter","key":"%s","hold":true}`,
			`{"provider":"openrouter","key":"%s"}`,
			`{"provider":"nobody","key":"%s"}`,
			`{"provider":"openrouter","key":"%s",}`,
			`{"provider":"openrouter","key":"%s","key":"x"}`,
			`{"provider":"openrouter","key_id":"%s"}`,
			`{"provider":"%s","key":"x"}`,
			`{"provider":"openrouter","key":"%[1]s","%[1]s":1}`,
			`{"provider":"openrouter","key":"x","model":"%s"}`,
			`%s`,
			`{"permits":[{"provider":"openrouter","key":"%[1]s"},{"provider":"openrouter","key_id":"%[1]s"}]}`,
		} {
			body = fmt.Sprintf(body, keys[0])
			text := send(token, "POST", "/v1/permits", body)
			send(token, "POST", "/v1/permits/batch", body)
			if strings.Contains(text, `"allowed":true`) {
				granted++
			}
		}
	}
	id := limiter.KeyID(keys[1])
	for _, r := range [][3]string{
		{"POST", p + "/keys", `{"key":"` + keys[1] + `","label":"one"}`},
		{"POST", p + "/keys", `{"key":"` + keys[1] + `","label":"other"}`},
		{"POST", p + "/keys", `[{"key":"` + keys[2] + `"},{"key":"` + keys[3] + `"},{"key":"` + keys[1] + `"}]`},
		{"POST", p + "/keys", `[{"key":"` + keys[2] + `"},{"key":"` + keys[4] + `","nope":1}]`},
		{"POST", p + "/keys", `{"key":"` + keys[4] + `","pool":"` + keys[4] + `"}`},
		{"POST", p + "/keys", `{"key":["` + keys[4] + `"]}`},
		{"POST", p + "/keys/" + id + "/rotate", `{"key":"` + keys[5] + `","keep_old_for":"1h"}`},
		{"POST", p + "/keys/" + id + "/rotate", `{"key":"` + keys[6] + `","keep_old_for":"` + keys[6] + `"}`},
		{"POST", p + "/keys/" + keys[7] + "/rotate", `{"key":"` + keys[7] + `"}`},
		{"GET", p + "/keys/" + keys[7], ""},
		{"GET", p + "/keys/" + url.PathEscape(keys[7]+"/x"), ""},
		{"GET", p + "/keys/" + keys[7] + "/x/y", ""},
		{"PUT", p + "/keys/" + keys[7], `{}`},
		{"PATCH", p + "/keys/" + keys[7], `{}`},
		{"DELETE", p + "/keys/" + keys[7], ""},
		{"PUT", p + "/pools/" + keys[7], `{}`},
		{"PUT", p + "/keys/" + id, `{"key":"` + keys[7] + `"}`},
		{"GET", p + "/usage?key_id=" + keys[7], ""},
		{"GET", p + "/usage?" + keys[7] + "=1", ""},
		{"GET", p + "/keys?cursor=" + keys[7], ""},
		{"GET", "/v1/providers/" + keys[7], ""},
		{"GET", "/" + keys[7], ""},
		{"POST", p + "/reset", `{"key_id":"` + keys[7] + `"}`},
		{"POST", p + "/preview", `{"permits":[{"provider":"openrouter","key":"` + keys[8] + `"}]}`},
		{"POST", "/v1/permits/" + keys[8] + "/settle", `{"cost":{}}`},
		{"PATCH", p + "?note=fine", `{"limits":{}}`},
		{"GET", p + "/history", ""},
		{"GET", p + "/keys", ""},
		{"GET", "/v1/instances", ""},
		{"GET", "/metrics", ""},
	} {
		for _, token := range []string{operator, app, wrong} {
			send(token, r[0], r[1], r[2])
		}
	}
	if granted < 2 || !strings.Contains(answers.String(), `"rotated_to"`) && !strings.Contains(answers.String(), limiter.KeyID(keys[5])) {
		t.Errorf("%d asks were granted: little was tested", granted)
	}
	stored := everything(t, server)
	for where, text := range map[string]string{"an answer": answers.String(), "the log": i.log.String(), "Redis": stored} {
		for _, secret := range append(keys, operator, app, wrong) {
			if at := strings.Index(text, secret); at >= 0 {
				t.Errorf("%s is in %s: …%q…", secret, where, text[max(0, at-200):at+len(secret)])
			}
		}
	}
	if !strings.Contains(stored, id) || !strings.Contains(i.log.String(), id) {
		t.Error("what was looked through is not all there is")
	}
}

// everything is all names and values in a Redis.
func everything(t *testing.T, server *redistest.Server) string {
	t.Helper()
	client, ctx := server.Client(), context.Background()
	defer client.Close()
	var all strings.Builder
	for scan := client.Scan(ctx, 0, "*", 1000).Iterator(); scan.Next(ctx); {
		key := scan.Val()
		value, err := client.Do(ctx, dump(client.Type(ctx, key).Val(), key)...).Result()
		if err != nil && err != redis.Nil {
			t.Fatal(key, err)
		}
		fmt.Fprintln(&all, key, value)
	}
	return all.String()
}

// dump is the command that reads a value of a type.
func dump(kind, key string) []any {
	switch kind {
	case "list":
		return []any{"LRANGE", key, 0, -1}
	case "zset":
		return []any{"ZRANGE", key, 0, -1}
	case "set":
		return []any{"SMEMBERS", key}
	case "hash":
		return []any{"HGETALL", key}
	}
	return []any{"GET", key}
}
