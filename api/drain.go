package api

import (
	"context"
	"sync"
	"time"
)

// quiet is how long a connection has to be silent before a server that stops closes it. A client that is about to send
// a request on it can't know, and may not send it again elsewhere; the longer it was silent, the less likely that is.
const quiet = 2 * time.Second

const (
	// lookEvery is how often a server that stops looks for silent connections.
	lookEvery = 10 * time.Millisecond
	// farewell is how long HTTP/1 is waited for, at most, before HTTP/2 connections are told to go away. Those that are
	// used have been told with an answer.
	farewell = readHeaderTimeout + time.Second
)

// MarkStopping makes /readyz 503 for good, so that load balancers send no more, and has every answer close its
// connection. Requests are still answered, and connections accepted.
func (s *Server) MarkStopping() { s.state.Store(stopping) }

// Shutdown marks the server as stopping and stops accepting. It waits for the requests in flight, and for connections
// that are open but silent: a request that still comes on them is answered, and after two seconds of silence they are
// closed, those that were never used after five. When ctx ends first it cuts everything off and returns the context's error.
func (s *Server) Shutdown(ctx context.Context) error {
	s.MarkStopping()
	s.connections.stop()
	var wg sync.WaitGroup
	for _, l := range s.listening() {
		wg.Go(l.stop)
	}
	wg.Wait()
	s.seeOff(ctx)
	err := s.http.Shutdown(ctx) // which tells HTTP/2 connections, and does not answer what still comes by HTTP/1
	if err != nil {
		s.http.Close()
	}
	return err
}

// seeOff waits until there are no HTTP/1 connections any more, and closes those that nobody uses.
func (s *Server) seeOff(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for s.connections.dismiss(int(quiet/lookEvery)) > 0 {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// goodbye has the answer close its connection when the server stops.
func (r *request) goodbye() {
	if r.server.state.Load() == stopping {
		r.Response().Header()["Connection"] = goodbye
	}
}

// goodbye is shared between answers, never changed. To HTTP/2 clients net/http says the same with GOAWAY.
var goodbye = []string{"close"}

// listening are the listeners that the server serves.
func (s *Server) listening() []*listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listeners
}
