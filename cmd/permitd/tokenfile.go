package main

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"

	"github.com/permitd/permitd/api"
)

// tokenFile is a list of tokens in a file that is followed.
type tokenFile struct {
	*followed
	tokens    *api.Tokens
	reachable bool        // by other machines, so that no token may be short
	list      []api.Token // that is in force
	cutOff    bool        // its last line does not end
}

// errCutOff is why a file is not taken up whose last line does not end.
var errCutOff = errors.New("the last line does not end with a newline, so the file may be cut off: add one")

// followTokens reads the file for the first time. One that may be cut off is taken then, since there are no tokens from
// before that could stay.
func followTokens(path string, reachable bool, log *slog.Logger) (*tokenFile, error) {
	f := &tokenFile{reachable: reachable}
	var err error
	f.followed, err = follow("tokens", log, f.take, path)
	return f, err
}

func (f *tokenFile) take(texts [][]byte) error {
	list, err := parseTokens(string(texts[0]), f.reachable)
	if err != nil {
		return err
	}
	cutOff := !bytes.HasSuffix(texts[0], []byte("\n"))
	if f.tokens == nil {
		f.tokens, f.list, f.cutOff = api.NewTokens(list), list, cutOff
		return nil
	}
	if cutOff {
		return errCutOff
	}
	f.tokens.Replace(list)
	f.list, f.cutOff = list, false
	warnOfShort(list, f.log)
	return nil
}

// warn tells at the start what is unwise about the file.
func (f *tokenFile) warn(log *slog.Logger) {
	if f.cutOff {
		log.Warn("the token file does not end with a newline: it may be cut off, and no change is taken up that does not end with one", "file", f.paths[0])
	}
}

// parseTokens reads a list. Where other machines reach permitd, none may be short.
func parseTokens(text string, reachable bool) ([]api.Token, error) {
	list, err := api.ParseTokens(text)
	if err != nil {
		return nil, err
	}
	for i, t := range list {
		if t.Short && reachable {
			return nil, fmt.Errorf("entry %d (%s): beyond loopback %s", i+1, t.Name, guessable)
		}
	}
	return list, nil
}

// guessable is what is said of a short token.
var guessable = fmt.Sprintf("a token of fewer than %d characters may be guessed: make one with openssl rand -hex 32", api.ShortToken)

// warnOfShort names tokens that may be guessed.
func warnOfShort(list []api.Token, log *slog.Logger) {
	for i, t := range list {
		if t.Short {
			log.Warn(guessable, "entry", i+1, "name", t.Name)
		}
	}
}
