package main

import (
	"runtime"
	"runtime/debug"
)

// version is what permitd --version prints.
func version() string {
	return "permitd " + moduleVersion() + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}

// moduleVersion is the version of the module, as the Go toolchain stamped it into the binary.
func moduleVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
