package redisstore

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"strings"
)

// The parts that scripts are made of.
var (
	//go:embed lua/clock.lua
	clockSource string
	//go:embed lua/args.lua
	argsSource string
	//go:embed lua/advance.lua
	advanceSource string
	//go:embed lua/names.lua
	namesSource string
	//go:embed lua/acquire.lua
	acquireSource string
	//go:embed lua/write.lua
	writeSource string
	//go:embed lua/reply.lua
	replySource string
	//go:embed lua/refund.lua
	refundSource string
	//go:embed lua/undo.lua
	undoSource string
	//go:embed lua/kept.lua
	keptSource string
	//go:embed lua/close.lua
	closeSource string
	//go:embed lua/hold.lua
	holdSource string
	//go:embed lua/swap.lua
	swapSource string
	//go:embed lua/swapall.lua
	swapAllSource string
	//go:embed lua/list.lua
	listSource string
	//go:embed lua/history.lua
	historySource string
	//go:embed lua/clear.lua
	clearSource string
	//go:embed lua/instances.lua
	instancesSource string
)

// scripts are what the store runs. The first line of each says what Redis has to refuse before it starts: a full Redis
// refuses to charge, but still lets charges be taken back, and limits be tuned.
type scripts struct{ acquire, undo, close, hold, swap, swapAll, list, history, clear, instances script }

func newScripts(clock string) scripts {
	return scripts{
		acquire: newScript("#!lua", clock, argsSource, advanceSource, namesSource, acquireSource, writeSource, replySource),
		undo:    newScript("#!lua flags=allow-oom", clock, argsSource, advanceSource, refundSource, undoSource, writeSource, "return kept"),
		close: newScript("#!lua flags=allow-oom", clock, argsSource, advanceSource, refundSource, keptSource, closeSource, writeSource,
			"return answer(GRANTED, record)"),
		hold:      newScript("#!lua flags=no-writes", clock, keptSource, holdSource),
		swap:      newScript("#!lua flags=allow-oom", clock, swapSource),
		swapAll:   newScript("#!lua flags=allow-oom", clock, swapAllSource),
		list:      newScript("#!lua flags=no-writes", listSource),
		history:   newScript("#!lua flags=no-writes", historySource),
		clear:     newScript("#!lua flags=allow-oom", clearSource),
		instances: newScript("#!lua flags=allow-oom", clock, instancesSource),
	}
}

type script struct{ source, sha string }

func newScript(parts ...string) script {
	source := strings.Join(parts, "\n")
	sum := sha1.Sum([]byte(source))
	return script{source, hex.EncodeToString(sum[:])}
}

// run sends a script once. A Redis that does not know it (restarted, promoted, flushed) has not run it, and is sent the
// source.
func (s *Store) run(ctx context.Context, l *link, of script, keys []string, args ...any) (any, error) {
	line := make([]any, 0, 3+len(keys)+len(args))
	line = append(line, "evalsha", of.sha, len(keys))
	for _, k := range keys {
		line = append(line, k)
	}
	line = append(line, args...)
	result, err := s.send(ctx, l, 3, line...)
	if answered(err, "NOSCRIPT") {
		line[0], line[1] = "eval", of.source
		result, err = s.send(ctx, l, 3, line...)
	}
	return result, err
}
