package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/permitd/permitd/api"
)

// tokenFile follows a file of tokens when it changes. One that can't be used leaves the tokens as they were.
type tokenFile struct {
	path   string
	log    *slog.Logger
	tokens *api.Tokens
	tried  edition // what was last taken up, or refused
	seen   edition // at the last look
}

// edition tells one state of a file from the next, without holding its text.
type edition [sha256.Size]byte

// maxTokenFile is more than the longest list takes.
const maxTokenFile = 1 << 20

func loadTokens(path string, log *slog.Logger) (*tokenFile, []api.Token, error) {
	f := &tokenFile{path: path, log: log}
	list, is, err := f.read()
	if err != nil {
		return nil, nil, err
	}
	f.tokens, f.tried, f.seen = api.NewTokens(list), is, is
	return f, list, nil
}

// follow looks at the file once a second until ctx ends.
func (f *tokenFile) follow(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			f.look()
		}
	}
}

// look takes up what is in the file when two looks found the same, for the first may have come while it was being
// written. Each edition is tried once, so that a bad one is logged once.
func (f *tokenFile) look() {
	list, is, err := f.read()
	settled := is == f.seen
	f.seen = is
	if !settled || is == f.tried {
		return
	}
	f.tried = is
	if err != nil {
		f.log.Error("the changed token file can't be used; the tokens stay as they were", "file", f.path, "error", err)
		return
	}
	f.tokens.Replace(list)
	f.log.Info("tokens read again", "file", f.path, "tokens", len(list))
	warnOfShort(list, f.log)
}

func (f *tokenFile) read() ([]api.Token, edition, error) {
	text, err := readFile(f.path)
	if err != nil {
		err = fmt.Errorf("must be a file that can be read: %w", err)
		return nil, sha256.Sum256([]byte(err.Error())), err
	}
	list, err := api.ParseTokens(string(text))
	return list, sha256.Sum256(text), err
}

// readFile reads a file that may be so long.
func readFile(path string) ([]byte, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, reason(err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxTokenFile+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(text) > maxTokenFile {
		return nil, errors.New("it is longer than 1 MiB")
	}
	return text, nil
}
