package main

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/permitd/permitd/scripts/internal/proc"
)

// usage is what instances use of the machine, and of Redis.
type usage struct {
	instances []process
	clients   int // connections to Redis
}

type process struct {
	goroutines, files int
	memory            int64 // resident, in bytes
}

// What may have been added.
const (
	moreGoroutines = 15
	moreFiles      = 10
	moreClients    = 15
	moreMemory     = 32 << 20 // and half of what there was
)

// use measures.
func use(ctx context.Context, r *proc.Redis, instances []*instance) (u usage, err error) {
	for _, i := range instances {
		i.http.CloseIdleConnections()
		status, text, err := i.call(ctx, http.MethodGet, "/metrics", "")
		if err != nil || status != http.StatusOK {
			return u, fmt.Errorf("read metrics: %d %w", status, err)
		}
		files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", i.process.ID()))
		if err != nil {
			return u, err
		}
		u.instances = append(u.instances, process{int(metric(text, "go_goroutines")), len(files), int64(metric(text, "process_resident_memory_bytes"))})
	}
	clients, err := r.Info(ctx, "clients")
	if err == nil {
		u.clients, err = strconv.Atoi(clients["connected_clients"])
	}
	return u, err
}

// metric is the value of one without labels, or 0.
func metric(text []byte, name string) float64 {
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			f, _ := strconv.ParseFloat(strings.TrimSpace(value), 64)
			return f
		}
	}
	return 0
}

// grown says what is used by more than may have been added, or "".
func (u usage) grown(ctx context.Context, r *proc.Redis, instances []*instance) string {
	now, err := use(ctx, r, instances)
	if err != nil {
		return err.Error()
	}
	var grown []string
	more := func(what string, was, is, most int64) {
		if is > was+most {
			grown = append(grown, fmt.Sprintf("%s: %d, and %d before", what, is, was))
		}
	}
	more("connections to Redis", int64(u.clients), int64(now.clients), moreClients)
	for n, is := range now.instances {
		was := u.instances[n]
		more(fmt.Sprintf("goroutines of instance %d", n+1), int64(was.goroutines), int64(is.goroutines), moreGoroutines)
		more(fmt.Sprintf("open files of instance %d", n+1), int64(was.files), int64(is.files), moreFiles)
		more(fmt.Sprintf("memory of instance %d", n+1), was.memory, is.memory, was.memory/2+moreMemory)
	}
	return strings.Join(grown, "; ")
}

func (u usage) String() string {
	text := fmt.Sprintf("%d connections to Redis", u.clients)
	for n, p := range u.instances {
		text += fmt.Sprintf("; instance %d: %d goroutines, %d files, %d MiB", n+1, p.goroutines, p.files, p.memory>>20)
	}
	return text
}
