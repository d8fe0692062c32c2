package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// run prints the id of the key on standard input. One newline at its end is not part of the key. What is wrong with a
// key is said without showing it.
func (*keyIDCommand) run(stdin io.Reader, stdout, stderr io.Writer) int {
	const most = 4*limiter.MaxKeyLen + len("\r\n") // bytes of the longest key
	text, err := io.ReadAll(io.LimitReader(stdin, int64(most)+1))
	if err != nil {
		return failed(stderr, fmt.Errorf("read the key on standard input: %w", err))
	}
	key := strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	ask := limiter.Ask{Provider: "any", Key: key}
	if ask.Validate() != nil {
		return complain(stderr, fmt.Errorf("the key on standard input must be 1 to %d printable characters", limiter.MaxKeyLen))
	}
	fmt.Fprintln(stdout, ask.KeyID)
	return exitOK
}
