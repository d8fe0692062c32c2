package main

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
)

// versions are of all that takes part in a replay, as far as it tells.
func (c *loadFlags) versions(ctx context.Context) []string {
	list := []string{fmt.Sprintf("loadtest %s, %s, %s/%s, %d CPUs", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())}
	for _, base := range trimSlashes(c.Permitd) {
		if v := permitdVersions(ctx, base+"/v1/instances", c.Token); v != "" {
			list = append(list, "permitd "+v)
		}
	}
	list = slices.Compact(list)
	if c.RedisURL != "" {
		if v := redisVersion(ctx, c.RedisURL); v != "" {
			list = append(list, "Redis "+v)
		}
	}
	for _, module := range []struct{ strategy, path string }{{strategySplit, "golang.org/x/time"}, {strategyRedisRate, "github.com/go-redis/redis_rate/v10"}} {
		if v := moduleVersion(module.path); v != "" && c.runs(module.strategy) {
			list = append(list, module.path+" "+v)
		}
	}
	return list
}

// stamped is the version given to a build without a git checkout: -ldflags "-X main.stamped=v1.2.3".
var stamped string

// buildVersion is the version of this program, or the revision it was built from.
func buildVersion() string {
	if stamped != "" {
		return stamped
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "of unknown version"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && (info.Main.Version == "" || info.Main.Version == "(devel)") {
			return s.Value[:min(12, len(s.Value))]
		}
	}
	return info.Main.Version
}

func moduleVersion(path string) string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == path {
				return m.Version
			}
		}
	}
	return ""
}

// permitdVersions are those of the instances that a permitd knows; "" when it does not say.
func permitdVersions(ctx context.Context, at, token string) string {
	var instances struct {
		Items []struct {
			Version string `json:"version"`
		} `json:"items"`
	}
	if read(ctx, at, token, &instances) != nil {
		return ""
	}
	var versions []string
	for _, i := range instances.Items {
		versions = append(versions, i.Version)
	}
	slices.Sort(versions)
	return strings.Join(slices.Compact(versions), ", ")
}

var (
	plainWord   = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)
	urlUserInfo = regexp.MustCompile(`://[^/@\s]*@`)
)

// commandLine is what a shell takes to run this program again with args. Secrets are left out of it.
func commandLine(args []string) string {
	words := []string{"loadtest"}
	for i, arg := range args {
		switch value, isToken := strings.CutPrefix(arg, "--token="); {
		case i > 0 && args[i-1] == "--token", isToken && value != "":
			words = append(words, strings.TrimSuffix(arg, value)+`"$PERMITD_TOKEN"`)
			continue
		}
		arg = urlUserInfo.ReplaceAllString(arg, "://…@")
		if !plainWord.MatchString(arg) {
			arg = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
		words = append(words, arg)
	}
	return strings.Join(words, " ")
}
