package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/permitd/permitd/scripts/internal/proc"
)

//go:embed clock/clock.c
var clockSource []byte

// fakeClock has a Redis that does not run yet go by a clock that can be set, so many seconds ahead of the machine's.
func fakeClock(ctx context.Context, r *proc.Redis) (set func(ahead int) error, err error) {
	source, library, offset := filepath.Join(r.Dir, "clock.c"), filepath.Join(r.Dir, "clock.so"), filepath.Join(r.Dir, "clock")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		return nil, err
	}
	out, err := exec.CommandContext(ctx, "cc", "-O2", "-shared", "-fPIC", "-o", library, source).CombinedOutput()
	if err != nil {
		return nil, fmt.Errorf("a clock that can be set needs a C compiler (Debian: apt-get install gcc libc6-dev): %w\n%s", err, out)
	}
	r.Setenv("LD_PRELOAD", library)
	r.Setenv("FAULTS_CLOCK", offset)
	set = func(ahead int) error {
		next := offset + ".next"
		if err := os.WriteFile(next, fmt.Append(nil, ahead), 0o600); err != nil {
			return err
		}
		return os.Rename(next, offset) // whole or not at all
	}
	return set, set(0)
}
