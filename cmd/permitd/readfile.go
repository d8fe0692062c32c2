package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// maxFile is more than the longest list of tokens takes, or chain of certificates.
const maxFile = 1 << 20

// readFile reads a regular file, or one that links lead to, of at most maxFile bytes. It does not wait for the other
// end of a named pipe.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path) // before it is opened, which has effects on some devices
	if err != nil {
		return nil, reason(err)
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, reason(err)
	}
	defer r.Close()
	if info, err = r.Stat(); err != nil { // another one may be there by now
		return nil, reason(err)
	}
	if err := regular(info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return nil, reason(err)
	}
	if len(text) > maxFile {
		return nil, errors.New("it is longer than 1 MiB")
	}
	return text, nil
}

// regular says what a file is that is not a regular one.
func regular(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return nil
	case mode.IsDir():
		return syscall.EISDIR
	case mode&fs.ModeNamedPipe != 0:
		return errors.New("it is a named pipe: give a regular file")
	}
	return errors.New("it is a device or a socket: give a regular file")
}

// Bounds of a filesReader.
const (
	readTime   = 5 * time.Second // of files on a file system that may hang
	maxHanging = 4               // reads that are given up and have not ended
)

// filesReader reads files without waiting for a file system that hangs.
type filesReader struct {
	read   func(path string) ([]byte, error)
	places chan struct{} // taken by a read until it ends, which may be never
}

func newFilesReader(read func(path string) ([]byte, error)) *filesReader {
	return &filesReader{read, make(chan struct{}, maxHanging)}
}

// unreadError is why a file could not be read.
type unreadError struct {
	path string
	err  error
}

func (e *unreadError) Error() string { return e.path + ": " + e.err.Error() }

var errHanging = fmt.Errorf("its file system did not answer within %v: mend or unmount it; if that helps nothing, start permitd anew", readTime)

// all returns what is in the files, in their order. The error is an [unreadError] about the first that can't be read,
// errHanging, or that the context has ended.
func (r *filesReader) all(ctx context.Context, paths []string) (texts [][]byte, err error) {
	select {
	case r.places <- struct{}{}:
	default:
		return nil, errHanging
	}
	type outcome struct {
		texts [][]byte
		err   error
	}
	done := make(chan outcome, 1)
	go func() {
		defer func() { <-r.places }()
		var o outcome
		for _, path := range paths {
			text, err := r.read(path)
			if err != nil {
				done <- outcome{nil, &unreadError{path, err}}
				return
			}
			o.texts = append(o.texts, text)
		}
		done <- o
	}()
	timer := time.NewTimer(readTime)
	defer timer.Stop()
	select {
	case o := <-done:
		return o.texts, o.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
		return nil, errHanging
	}
}
