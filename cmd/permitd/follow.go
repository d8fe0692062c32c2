package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"sync/atomic"
	"time"
)

// followed are files that are read again when they change, and when permitd is told to. What can't be used leaves
// what is in force as it was.
type followed struct {
	name   string // of what is in them, in logs and metrics
	paths  []string
	take   func(texts [][]byte) error // puts what was read in force, or says what is wrong and does nothing
	reader *filesReader
	log    *slog.Logger

	tried  edition // what was last taken up, or refused
	seen   edition // at the last look
	failed atomic.Bool
	asked  chan struct{} // to read now
}

// edition tells one state of files from the next, without holding their text.
type edition [sha256.Size]byte

func editionOf(texts [][]byte, err error) (e edition) {
	if err != nil {
		return sha256.Sum256([]byte(err.Error()))
	}
	h := sha256.New()
	for _, text := range texts {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(text))))
		h.Write(text)
	}
	return edition(h.Sum(nil))
}

// lookEvery is how often files are looked at.
const lookEvery = time.Second

// follow reads files for the first time, and returns an error if they can't be used. Call run to follow them from
// then on.
func follow(name string, log *slog.Logger, take func(texts [][]byte) error, paths ...string) (*followed, error) {
	f := &followed{name: name, paths: paths, take: take, reader: newFilesReader(readFile), log: log, asked: make(chan struct{}, 1)}
	texts, err := f.reader.all(context.Background(), paths)
	if err == nil {
		err = take(texts)
	}
	f.seen = editionOf(texts, nil)
	f.tried = f.seen
	return f, err
}

// run looks at the files until ctx ends.
func (f *followed) run(ctx context.Context) {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look(ctx, false)
		case <-f.asked:
			f.look(ctx, true)
		}
	}
}

// readAgain has the files read at once, whether or not they changed.
func (f *followed) readAgain() {
	select {
	case f.asked <- struct{}{}:
	default: // that is to be done anyway
	}
}

// look takes up what is in the files when two looks found the same, for the first may have come while they were being
// written, or at once. Each edition is tried once, so that a bad one is logged once.
func (f *followed) look(ctx context.Context, now bool) {
	texts, err := f.reader.all(ctx, f.paths)
	if ctx.Err() != nil {
		return
	}
	is := editionOf(texts, err)
	settled := is == f.seen
	f.seen = is
	if !now && (!settled || is == f.tried) {
		return
	}
	f.tried = is
	if err == nil {
		err = f.take(texts)
	}
	f.failed.Store(err != nil)
	if err != nil {
		f.log.Error("the changed files can't be used; what was in force stays so", "what", f.name, "files", f.paths, "error", err)
		return
	}
	f.log.Info(f.name+" read again", "files", f.paths)
}
