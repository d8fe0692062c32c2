package main

import (
	"runtime"
	"runtime/debug"
)

// version is what permitd --version prints.
func version() string {
	return "permitd " + moduleVersion() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}

// stamped is the version given to a build without a git checkout: -ldflags "-X main.stamped=v1.2.3".
var stamped string

// moduleVersion is the version of the module, as the build or else the Go toolchain stamped it into the binary.
func moduleVersion() string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
