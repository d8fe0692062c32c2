package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestDrainLosesNoRequest: clients with pooled connections ask all the while that permitd stops, with a delay and without
// one. All that they could send is answered; then they can't connect any more.
func TestDrainLosesNoRequest(t *testing.T) {
	for _, delay := range []string{"0s", "200ms"} {
		t.Run(delay, func(t *testing.T) {
			i := start(t, "--policies", file(t, "p.yaml", goodPolicies), "--drain-delay", delay)
			const clients = 32
			transport := &http.Transport{MaxIdleConnsPerHost: clients}
			defer transport.CloseIdleConnections()
			var running, ended sync.WaitGroup
			running.Add(clients)
			for range clients {
				ended.Go(func() {
					pace := time.NewTicker(20 * time.Millisecond)
					defer pace.Stop()
					for n := 0; ; n++ {
						if n == 3 {
							running.Done()
						}
						if err := i.asks(&http.Client{Transport: transport}); err != nil {
							var op *net.OpError
							if !errors.As(err, &op) || op.Op != "dial" || n < 3 {
								t.Errorf("ask %d: %v", n, err)
							}
							if n < 3 {
								running.Done()
							}
							return
						}
						<-pace.C
					}
				})
			}
			running.Wait()
			i.signal()
			ended.Wait()
			if code := i.ended(); code != 0 || strings.Contains(i.log.String(), "cut off") {
				t.Errorf("exit %d, logged %s", code, i.log)
			}
		})
	}
}

// asks asks once. Go sends it again by itself only where nothing was sent.
func (i *instance) asks(c *http.Client) error {
	resp, err := c.Post(i.url+"/v1/permits", "application/json", strings.NewReader(`{"provider":"other","key":"sk-1"}`))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// TestMaxConnections: as many as are allowed, on each address.
func TestMaxConnections(t *testing.T) {
	i := start(t, "--max-connections", "2", "--admin-addr", "127.0.0.1:0")
	_, admin, _ := strings.Cut(i.admin, "://")
	for _, addr := range []string{i.addr(), admin} {
		var made []net.Conn
		for range 3 {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			made = append(made, c)
		}
		if err := made[0].SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if n, err := made[0].Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%s: read %d, %v; want the first of three to be closed", addr, n, err)
		}
	}
}

// TestIdleTimeout closes a connection on which nothing comes.
func TestIdleTimeout(t *testing.T) {
	i := start(t, "--idle-timeout", "1s")
	c, err := net.Dial("tcp", i.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(4 * time.Second)); err != nil { // less than a first request may take
		t.Fatal(err)
	}
	if _, err := io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 ") {
		t.Errorf("%q, %v", text, err)
	}
}
