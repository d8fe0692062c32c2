package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"unicode/utf8"
)

// The part of OpenAI's Chat Completions that the mock provider speaks, and its clients.

const chatPath = "/v1/chat/completions"

// chatRequest is the body of a call. What else a body may have, such as a temperature, is passed over.
type chatRequest struct {
	Model               string             `json:"model"`
	Messages            []chatMessage      `json:"messages"`
	MaxCompletionTokens *int64             `json:"max_completion_tokens,omitempty"`
	MaxTokens           *int64             `json:"max_tokens,omitempty"` // its older name
	N                   *int64             `json:"n,omitempty"`
	Stream              bool               `json:"stream,omitempty"`
	StreamOptions       *chatStreamOptions `json:"stream_options,omitempty"`
	Metadata            map[string]string  `json:"metadata,omitempty"`

	usage chatUsage // what the call takes
}

type chatStreamOptions struct {
	IncludeUsage bool `json:"include_usage"`
}

type chatMessage struct {
	Role    string   `json:"role"`
	Content chatText `json:"content"`
}

// chatText is a text, which may come in parts.
type chatText string

// UnmarshalJSON reads a string, null, or parts such as {"type":"text","text":"…"}; parts of other types count as empty.
func (t *chatText) UnmarshalJSON(data []byte) error {
	if len(data) > 0 && data[0] != '[' {
		return json.Unmarshal(data, (*string)(t))
	}
	var parts []struct {
		Text string `json:"text"`
	}
	err := json.Unmarshal(data, &parts)
	for _, p := range parts {
		*t += chatText(p.Text)
	}
	return err
}

// Metadata by which a caller tells the mock what a real provider would count, so that load tests need not send kilobytes.
const (
	metaPrompt     = "prompt_tokens"
	metaCompletion = "completion_tokens"
	metaCached     = "cached_tokens"
)

const (
	charactersPerToken = 4
	defaultCompletion  = 16 // tokens that are generated when nothing is said
)

// count works out what the call takes.
func (r *chatRequest) count() *chatError {
	most, capped := r.most()
	u := &r.usage
	for _, f := range []struct {
		name      string
		into      *int64
		otherwise int64
	}{{metaPrompt, &u.Prompt, r.estimate()}, {metaCompletion, &u.Completion, most}, {metaCached, &u.Details.Cached, 0}} {
		*f.into = f.otherwise
		text, ok := r.Metadata[f.name]
		if !ok {
			continue
		}
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > maxTokens {
			return badRequest("metadata", "metadata.%s must be a whole number from 0 to %d, as a string, not %q", f.name, int64(maxTokens), text)
		}
		*f.into = n
	}
	if capped {
		u.Completion = min(u.Completion, most)
	}
	if u.Details.Cached > u.Prompt {
		return badRequest("metadata", "metadata.%s (%d) are part of the prompt's tokens (%d) and can't be more", metaCached, u.Details.Cached, u.Prompt)
	}
	u.Total = u.Prompt + u.Completion
	return nil
}

// most is the most that may be generated, and whether the caller said so.
func (r *chatRequest) most() (tokens int64, capped bool) {
	switch {
	case r.MaxCompletionTokens != nil:
		return *r.MaxCompletionTokens, true
	case r.MaxTokens != nil:
		return *r.MaxTokens, true
	}
	return defaultCompletion, false
}

// estimate is about how many tokens the prompt has.
func (r *chatRequest) estimate() int64 {
	characters := 0
	for _, m := range r.Messages {
		characters += utf8.RuneCountInString(string(m.Content))
	}
	return int64((characters + charactersPerToken - 1) / charactersPerToken)
}

func (r *chatRequest) check() *chatError {
	most, _ := r.most()
	switch {
	case r.Model == "":
		return badRequest("model", "model is missing: name any, such as gpt-4o-mini")
	case len(r.Messages) == 0:
		return badRequest("messages", `messages is missing: send at least one, such as {"role":"user","content":"Hello"}`)
	case r.MaxCompletionTokens != nil && r.MaxTokens != nil:
		return badRequest("max_tokens", "max_tokens and max_completion_tokens are two names of one thing: send only one of them")
	case most < 1 || most > maxTokens:
		return badRequest("max_completion_tokens", "max_completion_tokens must be from 1 to %d, not %d", int64(maxTokens), most)
	case r.N != nil && *r.N != 1:
		return badRequest("n", "n must be 1: the mock provider gives one choice")
	case r.StreamOptions != nil && !r.Stream:
		return badRequest("stream_options", "stream_options go with stream: send \"stream\": true, or leave them out")
	}
	return nil
}

type chatUsage struct {
	Prompt     int64            `json:"prompt_tokens"`
	Completion int64            `json:"completion_tokens"`
	Total      int64            `json:"total_tokens"`
	Details    chatUsageDetails `json:"prompt_tokens_details"`
}

type chatUsageDetails struct {
	Cached int64 `json:"cached_tokens"`
}

// row is the request as it turned out.
func (u chatUsage) row() *row {
	return &row{Context: u.Prompt, Generated: u.Completion, Cached: u.Details.Cached}
}

// chatAnswer is a chat.completion, or one chat.completion.chunk of it.
type chatAnswer struct {
	ID      string       `json:"id"`
	Object  string       `json:"object"`
	Created int64        `json:"created"` // Unix time in seconds
	Model   string       `json:"model"`
	Choices []chatChoice `json:"choices"`
	Usage   *chatUsage   `json:"usage"` // in chunks null, but in the last
}

type chatChoice struct {
	Index        int        `json:"index"`
	Message      *chatDelta `json:"message,omitempty"` // of a whole answer
	Delta        *chatDelta `json:"delta,omitempty"`   // of a chunk
	FinishReason *string    `json:"finish_reason"`
}

type chatDelta struct {
	Role    string  `json:"role,omitempty"`
	Content *string `json:"content,omitempty"`
}

// chatError is an answer that is not 200, in OpenAI's form.
type chatError struct {
	status  int
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

const invalidRequest = "invalid_request_error"

// badRequest is a 400 about a member of the body, or with param "" about all of it.
func badRequest(param, format string, args ...any) *chatError {
	e := &chatError{status: http.StatusBadRequest, Message: fmt.Sprintf(format, args...), Type: invalidRequest}
	if param != "" {
		e.Param = &param
	}
	return e
}

// parseChat reads the body of a call and works out what it takes.
func parseChat(body []byte) (*chatRequest, *chatError) {
	r := &chatRequest{}
	err := json.Unmarshal(body, r)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		param, _, _ := strings.Cut(wrongType.Field, ".")
		return nil, badRequest(param, "%s can't be a JSON %s: send it as OpenAI's Chat Completions have it; values of metadata are strings", wrongType.Field, wrongType.Value)
	case err != nil:
		return nil, badRequest("", `the body must be JSON such as {"model":"gpt-4o-mini","messages":[{"role":"user","content":"Hello"}]}: %s`, err)
	}
	fault := r.check()
	if fault == nil {
		fault = r.count()
	}
	return r, fault
}
