package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"sync"
	"time"
)

const (
	numClients = 32
	maxShown   = 5 // failures
	callTime   = 5 * time.Second
)

// load is clients, each with connections of its own, that ask at a steady pace whatever they are answered.
type load struct {
	name string
	urls []string // asked in turn

	mu        sync.Mutex
	asked     int
	elsewhere int // connections that were refused, so that another was asked
	undecided int // Redis took too long, as it does on a busy machine: permitd answered, and restarts are no cause
	slowest   time.Duration
	failed    int
	failures  []string
}

func newLoad(name string, urls ...string) *load { return &load{name: name, urls: urls} }

// run asks until the context ends, and returns when all is answered.
func (l *load) run(ctx context.Context, perSecond int) {
	var clients sync.WaitGroup
	for n := range numClients {
		clients.Go(func() { l.client(ctx, n, numClients*time.Second/time.Duration(perSecond)) })
	}
	clients.Wait()
}

// client asks once in a while. An ask that takes long does not keep it from the next.
func (l *load) client(ctx context.Context, n int, every time.Duration) {
	transport := &http.Transport{MaxIdleConnsPerHost: numClients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: callTime}
	var asks sync.WaitGroup
	defer asks.Wait()
	begin := time.Now().Add(every * time.Duration(n) / numClients)
	for turn := 0; ; turn++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(begin.Add(every * time.Duration(turn)))):
			asks.Go(func() { l.ask(client, n+turn) })
		}
	}
}

// ask asks one instance, and others as long as connections are refused.
func (l *load) ask(client *http.Client, turn int) {
	began := time.Now()
	err := errRefused
	refused := -1
	for range l.urls {
		refused++
		if err = post(client, l.urls[turn%len(l.urls)]); !errors.Is(err, errRefused) {
			break
		}
		turn++
	}
	took := time.Since(began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	l.elsewhere += refused
	l.slowest = max(l.slowest, took)
	switch {
	case err == nil:
		return
	case errors.Is(err, errUndecided):
		l.undecided++
		return
	}
	if l.failed++; l.failed <= maxShown {
		l.failures = append(l.failures, fmt.Sprintf("%s: after %v: %v", began.Format("15:04:05.000"), took, err))
	}
}

// errRefused is that there is no connection, so that nothing was sent.
var errRefused = errors.New("no connection")

// errUndecided is that permitd answered that Redis did not.
var errUndecided = errors.New("store-unavailable")

// post asks for a permit, once. net/http sends it again by itself only where nothing was sent before.
func post(client *http.Client, url string) error {
	var used httptrace.GotConnInfo
	trace := &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) { used = i }}
	ctx := httptrace.WithClientTrace(context.Background(), trace)
	body := strings.NewReader(`{"provider":"p","key":"sk-rolls"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/v1/permits", body)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	if err != nil {
		return fmt.Errorf("%w (connection used before: %t, idle for %v)", err, used.Reused, used.IdleTime)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil || resp.StatusCode == http.StatusOK:
		return err
	case resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), `:store-unavailable"`):
		return errUndecided
	}
	return fmt.Errorf("%s: %s", resp.Status, text)
}

// summary is what came of it, in a line.
func (l *load) summary(took time.Duration) string {
	seconds := took.Seconds()
	return fmt.Sprintf("%s: %d asks in %.0f s, %.0f a second, %d failed; %d connections refused, %d not decided in time; slowest %v",
		l.name, l.asked, seconds, float64(l.asked)/seconds, l.failed, l.elsewhere, l.undecided, l.slowest.Round(time.Millisecond))
}

func (l *load) err() error {
	if l.failed == 0 {
		return nil
	}
	return fmt.Errorf("%s: %d asks failed, such as\n  %s", l.name, l.failed, strings.Join(l.failures, "\n  "))
}
