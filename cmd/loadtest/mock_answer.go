package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// mockAnswer answers a call that was admitted. Its headers go out at once and its end when the call's time is over, so that
// whoever measures can tell when it was admitted.
type mockAnswer struct {
	call  *chatRequest
	pace  pace
	began time.Time
	id    string
}

const (
	mostChunks   = 20   // that have a part of the text
	mostText     = 4096 // characters of an answer, however many tokens it stands for
	textOfTokens = "mock"
)

var answerText = strings.Repeat(textOfTokens, mostText/len(textOfTokens))

// text stands for the tokens from so many to so many.
func (a *mockAnswer) text(from, to int64) *string {
	at := func(tokens int64) int64 {
		all := a.call.usage.Completion
		return tokens * min(all, int64(len(answerText)/len(textOfTokens))) / max(1, all) * int64(len(textOfTokens))
	}
	text := answerText[at(from):at(to)]
	return &text
}

func (a *mockAnswer) object(kind string, choices ...chatChoice) *chatAnswer {
	return &chatAnswer{ID: a.id, Object: kind, Created: a.began.Unix(), Model: a.call.Model, Choices: append([]chatChoice{}, choices...)} // never null
}

// finish is why the answer ends.
func (a *mockAnswer) finish() *string {
	reason := "stop"
	if most, capped := a.call.most(); capped && a.call.usage.Completion == most {
		reason = "length"
	}
	return &reason
}

// until waits until the call has generated so many tokens.
func (a *mockAnswer) until(ctx context.Context, w http.ResponseWriter, tokens int64) error {
	wait := a.pace.of(tokens) - time.Since(a.began)
	if wait <= 0 {
		return nil
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return err
	}
	return sleep(ctx, wait)
}

func (a *mockAnswer) plain(ctx context.Context, w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	whole := a.object("chat.completion", chatChoice{Message: &chatDelta{"assistant", a.text(0, a.call.usage.Completion)}, FinishReason: a.finish()})
	whole.Usage = &a.call.usage
	if a.until(ctx, w, a.call.usage.Completion) != nil {
		return // the client is gone
	}
	w.Write(mustJSON(whole))
}

// stream sends chunks as they are generated: one with the role, some of the text, one with the reason of the end, one with
// the usage if the caller wants it.
func (a *mockAnswer) stream(ctx context.Context, w http.ResponseWriter) {
	w.Header().Set("Content-Type", eventStream)
	w.Header().Set("Cache-Control", "no-cache")
	chunk := func(usage *chatUsage, choices ...chatChoice) {
		o := a.object("chat.completion.chunk", choices...)
		o.Usage = usage
		w.Write(event(mustJSON(o)))
	}
	none := ""
	chunk(nil, chatChoice{Delta: &chatDelta{"assistant", &none}})
	chunks := min(mostChunks, a.call.usage.Completion)
	sent := int64(0)
	for i := range chunks {
		next := a.call.usage.Completion / chunks * (i + 1)
		if i == chunks-1 {
			next = a.call.usage.Completion
		}
		if a.until(ctx, w, next) != nil {
			return
		}
		chunk(nil, chatChoice{Delta: &chatDelta{Content: a.text(sent, next)}})
		sent = next
	}
	if a.until(ctx, w, sent) != nil { // of an answer without tokens
		return
	}
	chunk(nil, chatChoice{Delta: &chatDelta{}, FinishReason: a.finish()})
	if o := a.call.StreamOptions; o != nil && o.IncludeUsage {
		chunk(&a.call.usage)
	}
	w.Write(event([]byte(lastEvent)))
}

// What server-sent events are made of.
const (
	eventStream = "text/event-stream"
	eventPrefix = "data: "
	lastEvent   = "[DONE]" // ends a stream
)

// event is a server-sent event.
func event(data []byte) []byte {
	return bytes.Join([][]byte{[]byte(eventPrefix), data, []byte("\n\n")}, nil)
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // structs of strings and numbers can be written
	}
	return data
}
