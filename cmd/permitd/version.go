package main

import (
	"runtime"
	"runtime/debug"
)

// version is that of the module, as the Go toolchain stamped it into the binary.
func version() string {
	v := "(devel)"
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		v = info.Main.Version
	}
	return "permitd " + v + " " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH
}
