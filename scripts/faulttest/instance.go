package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/permitd/permitd/scripts/internal/proc"
)

// build makes the binary that is tried.
func build(ctx context.Context, dir string) (binary string, err error) {
	binary = filepath.Join(dir, "permitd")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, "./cmd/permitd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build permitd: %w\n%s", err, out)
	}
	return binary, nil
}

// instance is a permitd of its own.
type instance struct {
	process *proc.Process
	url     string
	http    *http.Client
	log     string // JSON lines
}

// readyTime is how long permitd may take to listen.
const readyTime = 15 * time.Second

// startInstance runs permitd until it is ended, with what it says in a log.
func startInstance(ctx context.Context, binary, log string, args ...string) (*instance, error) {
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close() // the process has it too
	cmd := exec.Command(binary, append([]string{"--addr", "127.0.0.1:0", "--log-format", "json"}, args...)...)
	cmd.Stderr = f
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	cmd.Stdout = w
	i := &instance{log: log, http: &http.Client{Timeout: callTime, Transport: &http.Transport{MaxIdleConnsPerHost: 256, DisableCompression: true}}}
	i.process, err = proc.Start(cmd)
	w.Close()
	if err != nil {
		return nil, fmt.Errorf("start permitd: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	defer context.AfterFunc(ctx, func() { r.Close() })()
	for lines := bufio.NewScanner(r); lines.Scan(); {
		if _, at, ok := strings.Cut(lines.Text(), " listening on "); ok {
			i.url = at
			return i, nil
		}
	}
	i.process.Kill()
	text, _ := os.ReadFile(log)
	return nil, fmt.Errorf("permitd does not listen: %s", bytes.TrimSpace(text))
}

// outages are when the instance began to answer without Redis, by provider, as it says in its log.
func (i *instance) outages() (map[string][]int64, error) {
	text, err := os.ReadFile(i.log)
	if err != nil {
		return nil, err
	}
	begun := map[string][]int64{}
	for line := range bytes.Lines(text) {
		var said struct {
			Time          time.Time
			Msg, Provider string
		}
		if json.Unmarshal(line, &said) == nil && said.Msg == "the store gives no answer: permits are decided here" {
			begun[said.Provider] = append(begun[said.Provider], micros(said.Time))
		}
	}
	return begun, nil
}

// end has permitd stop, and waits for it.
func (i *instance) end() {
	i.http.CloseIdleConnections()
	i.process.Interrupted(readyTime)
}

// callTime is how long an answer is waited for: long enough to see how late it is.
const callTime = 10 * time.Second

// call sends a request, with a body unless that is "", and reads what is answered.
func (i *instance) call(ctx context.Context, method, path, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, i.url+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.GetBody = nil // so that nothing is sent twice
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/merge-patch+json")
	}
	res, err := i.http.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	answer, err = io.ReadAll(res.Body)
	return res.StatusCode, answer, err
}

// read is call for what has to be answered well, as JSON.
func (i *instance) read(ctx context.Context, method, path, body string, into any) error {
	status, answer, err := i.call(ctx, method, path, body)
	if err == nil && status/100 != 2 {
		err = errors.New(string(bytes.TrimSpace(answer)))
	}
	if err == nil && into != nil {
		err = json.Unmarshal(answer, into)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", method, path, err)
	}
	return nil
}
