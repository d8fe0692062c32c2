package redisclient

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// Info returns what INFO says of one server, by name: of some sections, or of its usual ones.
func Info(ctx context.Context, c redis.Cmdable, sections ...string) (map[string]string, error) {
	text, err := c.Info(ctx, sections...).Result()
	if err != nil {
		return nil, err
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return info, nil
}

// setup is what INFO calls how a server is set up: standalone, sentinel or cluster; "" if it does not say. Valkey has
// another name for it.
func setup(info map[string]string) string { return cmp.Or(info["redis_mode"], info["server_mode"]) }

// CheckSetup says what to do about a server that is set up otherwise than wanted: standalone, sentinel or cluster.
func CheckSetup(info map[string]string, want string) error {
	is := setup(info)
	if is == "" || is == want {
		return nil
	}
	mode := is
	if is == "standalone" {
		mode = string(Single)
	}
	return fmt.Errorf("its mode is %s, not %s: set --redis-mode to %s, or give the address of a server that is %s", is, want, mode, want)
}
