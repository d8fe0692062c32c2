package api

import (
	"net/url"
	"testing"

	"github.com/permitd/permitd/limiter"
)

func TestPage(t *testing.T) {
	id := limiter.KeyID("sk-1")
	for _, tt := range []struct {
		list, cursor, size string
		valid              func(string) bool
		after              string
		want               int
		pointers           string
	}{
		{"keys", "", "", limiter.ValidKeyID, "", 1000, ""},
		{"keys", newCursor("keys", id), "1", limiter.ValidKeyID, id, 1, ""},
		{"pools", newCursor("pools", "acme"), "1000", limiter.ValidName, "acme", 1000, ""},
		{"history", newCursor("history", "7"), "", isRevision, "7", 1000, ""},

		{"keys", id, "", limiter.ValidKeyID, "", 0, "/cursor"},
		{"keys", newCursor("pools", id), "", limiter.ValidKeyID, "", 0, "/cursor"},
		{"keys", newCursor("keys", "sk-1"), "", limiter.ValidKeyID, "", 0, "/cursor"},
		{"keys", newCursor("keys", id) + "=", "", limiter.ValidKeyID, "", 0, "/cursor"},
		{"pools", "garbage", "", limiter.ValidName, "", 0, "/cursor"},
		{"pools", "null", "", limiter.ValidName, "", 0, "/cursor"},
		{"pools", "\x00", "", limiter.ValidName, "", 0, "/cursor"},
		{"pools", newCursor("pools", ""), "", limiter.ValidName, "", 0, "/cursor"},
		{"history", newCursor("history", "0"), "", isRevision, "", 0, "/cursor"},
		{"history", newCursor("history", "-1"), "", isRevision, "", 0, "/cursor"},
		{"history", newCursor("history", "07"), "", isRevision, "", 0, "/cursor"},
		{"history", newCursor("history", "+7"), "", isRevision, "", 0, "/cursor"},
		{"history", newCursor("history", "99999999999999999999"), "", isRevision, "", 0, "/cursor"},
		{"pools", "", "0", limiter.ValidName, "", 0, "/page_size"},
		{"pools", "", "1001", limiter.ValidName, "", 0, "/page_size"},
		{"pools", "?", "1.5", limiter.ValidName, "", 0, "/cursor /page_size"},
	} {
		after, size, err := page(url.Values{"cursor": {tt.cursor}, "page_size": {tt.size}}, tt.list, tt.valid)
		pointers := ""
		if err != nil {
			pointers = problemDoc{Errors: problemOf(err).faults}.pointers()
		}
		if after != tt.after || size != tt.want || pointers != tt.pointers {
			t.Errorf("%s %q %q: %q, %d, faults at %q", tt.list, tt.cursor, tt.size, after, size, pointers)
		}
	}
}
