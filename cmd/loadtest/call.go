package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// callProvider sends the call of a request. When the provider admits it the verdict is granted, and its answer has begun,
// which finishCall reads or whose body is to be closed.
func (c *clients) callProvider(ctx context.Context, r *row) (verdict, *http.Response, error) {
	call := chatRequest{
		Model:    cmp.Or(r.Model, "mock"),
		Messages: []chatMessage{{"user", "loadtest"}},
		Metadata: map[string]string{metaPrompt: strconv.FormatInt(r.Context, 10), metaCompletion: strconv.FormatInt(r.Generated, 10)},
	}
	if r.Cached > 0 {
		call.Metadata[metaCached] = strconv.FormatInt(r.Cached, 10)
	}
	if c.reserving.streams() {
		call.Stream, call.StreamOptions = true, &chatStreamOptions{IncludeUsage: true}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.providers[r.Provider].url+chatPath, bytes.NewReader(mustJSON(call)))
	if err != nil {
		return verdict{}, nil, &callError{"provider", 0, err}
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.Key)
	res, err := c.upstream.Do(req)
	if err != nil {
		return verdict{}, nil, &callError{"provider", 0, err}
	}
	if res.StatusCode == http.StatusOK {
		return verdict{granted: true}, res, nil
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxAnswer)); err != nil { // else the connection is not used again
		return verdict{}, nil, &callError{"provider", 0, err}
	}
	if res.StatusCode != http.StatusTooManyRequests {
		return verdict{}, nil, &callError{"provider", res.StatusCode, nil}
	}
	ms, err := strconv.ParseInt(res.Header.Get(retryAfterMS), 10, 64)
	if err != nil {
		return verdict{}, nil, &callError{"provider", 0, fmt.Errorf("%w: a 429 with %s %q", errNonsense, retryAfterMS, res.Header.Get(retryAfterMS))}
	}
	by := res.Header.Get(refusedBy)
	c.tally.upstreamRefused(by)
	return verdict{wait: time.Duration(ms) * time.Millisecond, ofAccount: by == limitAccount}, nil, nil
}

// maxAnswer bounds what is read of an answer: far more than the mock provider sends.
const maxAnswer = 1 << 20

// finishCall reads an answer to its end, which comes when all is generated, and returns what the call took.
func finishCall(res *http.Response) (*chatUsage, error) {
	defer res.Body.Close()
	body := io.LimitReader(res.Body, maxAnswer)
	var usage *chatUsage
	var err error
	if strings.HasPrefix(res.Header.Get("Content-Type"), eventStream) {
		usage, err = streamedUsage(body)
	} else {
		var data []byte
		if data, err = io.ReadAll(body); err == nil {
			usage, err = usageOf(data)
		}
	}
	switch {
	case err != nil:
		return nil, &callError{"provider", 0, err}
	case usage == nil:
		return nil, &callError{"provider", 0, fmt.Errorf("%w: no usage", errNonsense)}
	}
	return usage, nil
}

// streamedUsage is that of the last chunk that has one.
func streamedUsage(body io.Reader) (last *chatUsage, err error) {
	done := false
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		data, ok := bytes.CutPrefix(lines.Bytes(), []byte(eventPrefix))
		if done = done || string(data) == lastEvent; done || !ok {
			continue
		}
		usage, err := usageOf(data)
		if err != nil {
			return nil, err
		}
		if usage != nil {
			last = usage
		}
	}
	if err := lines.Err(); err != nil || done {
		return last, err
	}
	return nil, io.ErrUnexpectedEOF
}

func usageOf(data []byte) (*chatUsage, error) {
	var answer struct {
		Usage *chatUsage `json:"usage"`
	}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", errNonsense, err)
	}
	return answer.Usage, nil
}
