package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/permitd/permitd/api"
	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
	"github.com/permitd/permitd/limiter/policyfile"
)

// startPermitd runs a permitd with the embedded store in this process, on a loopback port of its own, until stop is
// called.
func startPermitd(ctx context.Context, policies *policyfile.File) (url string, stop func(), err error) {
	coordinator := limiter.New(memstore.New(memstore.Options{}))
	for _, docs := range policies.Providers {
		if _, err := coordinator.Seed(ctx, docs); err != nil {
			return "", nil, fmt.Errorf("start permitd: store the policy of %s: %w", docs.Provider, err)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, fmt.Errorf("start permitd: %w", err)
	}
	server := api.New(coordinator, api.Options{LoopbackOnly: true})
	server.MarkReady()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener) // if it ends early, the clients' errors tell
	}()
	stop = func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = server.Shutdown(ctx) // it cuts off what lasts longer
		<-done
	}
	return "http://" + listener.Addr().String(), stop, nil
}
