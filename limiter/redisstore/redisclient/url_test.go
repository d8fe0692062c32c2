package redisclient

import (
	"strings"
	"testing"
)

// TestRawCharacters: a password that is not percent-encoded is found, whichever of its characters ends it early and
// whatever stands around that, and is in no error.
func TestRawCharacters(t *testing.T) {
	for _, password := range []string{"sec/ret", "12/ret", "/", "sec#ret", "12#ret", "sec?ret", "12?ret", "12?db=1", "sec%ret", "sec%", "se%2", "sec ret", "s^c/r?t#x%y", "12/@x", "a@b/c"} {
		for mode, forms := range map[Mode][]string{
			Single:   {"redis://:PW@host:6379", "redis://user:PW@host", "rediss://user:PW@host:6379/2", "redis://u:PW@[::1]:1/0?pool_size=5", "unix://user:PW@/run/redis.sock?db=1"},
			Sentinel: {"redis://user:PW@host:26379/0?master_name=m&addr=other:26379"},
			Cluster:  {"rediss://user:PW@host:6379?addr=other:6379"},
		} {
			for _, form := range forms {
				c := Config{Mode: mode, URL: strings.Replace(form, "PW", password, 1)}
				err := c.Check()
				if err == nil || !strings.Contains(err.Error(), "percent-encode") || strings.Contains(err.Error(), "sec") || strings.Contains(err.Error(), "ret@") {
					t.Errorf("%s %s: %v", mode, c.URL, err)
				}
			}
		}
	}
}

// TestEncodedCharacters: what is encoded, and what URLs have elsewhere, is taken.
func TestEncodedCharacters(t *testing.T) {
	for _, c := range []Config{
		{URL: "redis://user:s%2Fe%23c%3Fr%25e%40t%20@host:6379/3"},
		{URL: "redis://:p@ss:word@host"},
		{URL: "redis://host:6379/0?client_name=a@b/c"},
		{URL: "redis://[fe80::1%25eth0]:6379"},
		{URL: "unix:///run/redis.sock"},
		{URL: "unix://user:s%2Fe@/run/user@host/redis.sock"},
		{Mode: Sentinel, URL: "redis://u:s%23@host/0?master_name=m&username=x&password=a/b?c@d%25"},
		{Mode: Cluster, URL: "rediss://u:s%3F@host?addr=other:1"},
	} {
		if err := c.Check(); err != nil {
			t.Errorf("%s %s: %v", c.Mode, c.URL, err)
		}
	}
}

// TestBadForms: what has nothing to do with passwords is told as it is.
func TestBadForms(t *testing.T) {
	for _, url := range []string{"", "host:6379", "http://host", "redis://host:port", "redis://host/db", "unix://", "redis://host?nonsense=1"} {
		if err := (Config{URL: url}).Check(); err == nil || strings.Contains(err.Error(), "percent") || !strings.Contains(err.Error(), "must be redis://") {
			t.Errorf("%s: %v", url, err)
		}
	}
}
