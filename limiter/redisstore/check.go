package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"strings"
)

// Check asks Redis whether it is fit to hold limits. The error says why it is not, or that it did not answer; warnings
// are what an operator should know.
func (s *Store) Check(ctx context.Context) (warnings []string, err error) {
	text, err := s.side.Info(ctx).Result()
	if err != nil {
		return nil, s.failed(ctx, err)
	}
	info := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			info[name] = value
		}
	}
	return judge(info)
}

// judge reads what INFO says.
func judge(info map[string]string) (warnings []string, err error) {
	version := info["redis_version"]
	major, _, _ := strings.Cut(version, ".")
	if n, err := strconv.Atoi(major); err != nil || n < 7 {
		return nil, fmt.Errorf("it is version %q: permitd needs 7.0 or later, whose scripts can say what they must be refused for", version)
	}
	if info["role"] != "master" {
		return nil, fmt.Errorf("it is a %s: give the address of the primary, permitd writes", info["role"])
	}
	if policy := info["maxmemory_policy"]; info["maxmemory"] != "0" && policy != "noeviction" {
		warnings = append(warnings, fmt.Sprintf("Redis may evict counters when memory is short (maxmemory-policy is %s): limits then admit more than they should; set it to noeviction", policy))
	}
	if info["aof_enabled"] == "0" {
		warnings = append(warnings, "Redis keeps no append-only file: usage and tuning since its last snapshot are lost when it restarts; set appendonly to yes")
	}
	return warnings, nil
}
