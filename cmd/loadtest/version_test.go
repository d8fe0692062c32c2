package main

import (
	"bytes"
	"strings"
	"testing"
)

func TestVersion(t *testing.T) {
	stamped = "v1.2.3"
	defer func() { stamped = "" }()
	var stdout, stderr bytes.Buffer
	code := run(t.Context(), []string{"--version"}, strings.NewReader(""), &stdout, &stderr)
	if code != exitOK || !strings.HasPrefix(stdout.String(), "loadtest v1.2.3 go1.") || strings.Count(stdout.String(), "\n") != 1 || stderr.Len() > 0 {
		t.Errorf("exit %d, %q, %q", code, stdout.String(), stderr.String())
	}
}
