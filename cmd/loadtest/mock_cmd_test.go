package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestMockCommand serves until it is interrupted, as a client of OpenAI would use it.
func TestMockCommand(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	out, in := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		defer in.Close()
		ended <- run(ctx, []string{"mock", "--capacity=600", "--per=1h", "--mock-burst=1x", "--account-capacity=0.5x", "--call-base=1ms", "--call-token=0s"}, strings.NewReader(""), in, io.Discard)
	}()
	said := make([]byte, 1000)
	var text string
	for strings.Count(text, "\n") < 2 {
		n, err := out.Read(said)
		if err != nil {
			t.Fatalf("%q, %v", text, err)
		}
		text += string(said[:n])
	}
	first, second, _ := strings.Cut(text, "\n")
	base, ok := strings.CutPrefix(first, "mock provider listening on ")
	if !ok || second != "token bucket: 600 tokens per 1h0m0s, at most 600 at once; for each account 300, at most 300 at once\n" {
		t.Fatalf("said %q", text)
	}
	client := newUpstreamClient(pace{})
	defer client.CloseIdleConnections()
	for i, step := range []struct {
		key    string
		status int
	}{{"a", 200}, {"a", 429}, {"b", 200}, {"c", 429}} {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, base+"/chat/completions", strings.NewReader(tokens(300)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+step.key)
		res, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || res.StatusCode != step.status {
			t.Errorf("call %d: %d %s, %v", i, res.StatusCode, body, err)
		}
	}
	interrupt()
	select {
	case code := <-ended:
		if code != exitOK {
			t.Errorf("exit %d", code)
		}
	case <-time.After(time.Minute):
		t.Fatal("it serves on")
	}
}

func TestMockCommandLine(t *testing.T) {
	for flags, want := range map[string]string{
		"--per=soon":                    "--per ",
		"--per=0s":                      "--per must be above 0s",
		"--capacity=0":                  "--capacity must be a number of tokens from 1 to 1000000000000",
		"--capacity=0.5x":               "--capacity",
		"--call-token=-1s":              "--call-base and --call-token must be at least 0s",
		"--mock=window --mock-burst=1x": "--mock-burst goes with --mock=bucket",
		"--account-capacity=some":       "must be a positive number of tokens",
		"--addr=256.0.0.1:0":            "--addr: listen",
		"--accounts=3":                  "unknown flag",
		"--mock=leaky":                  "--mock must be one of",
	} {
		var stdout, stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"mock"}, strings.Fields(flags)...), strings.NewReader(""), &stdout, &stderr); code != exitUsage || !strings.Contains(stderr.String(), want) {
			t.Errorf("%s: exit %d, %s", flags, code, stderr.String())
		}
	}
}
