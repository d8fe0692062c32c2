package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// floodPolicies has 16 limits, which are those of every ask.
func floodPolicies(scope string) string {
	var b strings.Builder
	b.WriteString("providers:\n  openrouter:\n    limits:\n")
	for i := range 16 {
		fmt.Fprintf(&b, "      limit-%d: {scope: %s, kind: rate, unit: tokens, counts: {input_tokens: 1, output_tokens: %d}, amount: 1000000, per: 31d, burst: 1000000000}\n", i, scope, i+1)
	}
	return b.String()
}

// process is a permitd of its own, so that its memory is.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	url string
}

// build builds permitd.
func build(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "permitd")
	if out, err := exec.Command("go", "build", "-o", path, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func startProcess(t *testing.T, path, scope string, args ...string) *process {
	t.Helper()
	args = append([]string{"--addr", "127.0.0.1:0", "--log-level", "error", "--policies", file(t, "flood.yaml", floodPolicies(scope))}, args...)
	p := &process{t: t, cmd: exec.Command(path, args...)}
	p.cmd.Stderr = os.Stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.cmd.Process.Kill() })
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
	if !ok {
		t.Fatalf("did not start: %q", line)
	}
	p.url = url
	return p
}

// post sends n requests, some at a time, and counts their statuses.
func (p *process) post(n int, request func(i int) (path, body string), of func(answer []byte, status int, into map[string]int)) map[string]int {
	p.t.Helper()
	const together = 8
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: together}}
	defer client.CloseIdleConnections()
	counts := map[string]int{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for at := range together {
		wg.Go(func() {
			for i := at; i < n; i += together {
				path, body := request(i)
				resp, err := client.Post(p.url+path, "application/json", strings.NewReader(body))
				if err != nil {
					p.t.Error(err)
					return
				}
				answer, _ := io.ReadAll(resp.Body)
				resp.Body.Close()
				mu.Lock()
				of(answer, resp.StatusCode, counts)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return counts
}

// asks sends batches of 100 asks with holds and idempotency keys, each for a key of its own.
func (p *process) asks(n int) map[string]int {
	const batch = 100
	return p.post(n/batch, func(i int) (path, body string) {
		var b bytes.Buffer
		for j := range batch {
			id := i*batch + j
			fmt.Fprintf(&b, `,{"provider":"openrouter","key":"sk-%d","model":"m","cost":{"input_tokens":100,"output_tokens":50},"hold":true,"idempotency_key":"once-%d"}`, id, id)
		}
		return "/v1/permits/batch", `{"permits":[` + b.String()[1:] + `]}`
	}, func(answer []byte, status int, into map[string]int) {
		var all struct {
			Decisions []struct {
				Status int `json:"status"`
			} `json:"decisions"`
		}
		if err := json.Unmarshal(answer, &all); err != nil || status != 200 || len(all.Decisions) != batch {
			p.t.Errorf("%d %.200s", status, answer)
		}
		for _, d := range all.Decisions {
			into[strconv.Itoa(d.Status)]++
		}
	})
}

// forged cancels permits that nobody has granted, as if another instance had without the store.
func (p *process) forged(n int) map[string]int {
	now := time.Now().UnixMicro()
	return p.post(n, func(i int) (path, body string) {
		note := fmt.Sprintf(`{"k":"k_%032x","m":"m","c":{"input_tokens":100,"output_tokens":50},"b":%d,"x":%d}`, i, now-1e6, now+60e6)
		return fmt.Sprintf("/v1/permits/p_openrouter_%022d~%s/cancel", i, base64.RawURLEncoding.EncodeToString([]byte(note))), ""
	}, func(_ []byte, status int, into map[string]int) { into[strconv.Itoa(status)]++ })
}

// figure is one of /metrics.
func (p *process) figure(name string) float64 {
	p.t.Helper()
	resp, err := http.Get(p.url + "/metrics")
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			n, err := strconv.ParseFloat(value, 64)
			if err != nil {
				p.t.Fatal(err)
			}
			return n
		}
	}
	p.t.Fatalf("/metrics has no %s", name)
	return 0
}

// end ends the process and returns the most memory that it had, in bytes. (Its resource usage would say at least what the
// test's own process had when it forked.)
func (p *process) end() int64 {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	if _, err := fmt.Sscan(peak, &kib); err != nil {
		p.t.Fatal(err)
	}
	p.cmd.Process.Signal(syscall.SIGTERM)
	if err := p.cmd.Wait(); err != nil {
		p.t.Error(err)
	}
	return kib << 10
}

var floodSize = flag.Int("flood", 8000, "what each flood of TestFloods sends; --max-memory is 1 KiB for each, at least 16 MiB")

// TestFloods: whatever clients send, permitd takes no more than --max-memory and 64 MiB.
func TestFloods(t *testing.T) {
	n, most := *floodSize, max(int64(*floodSize)<<10, leastMemory)
	const beside = 64 << 20
	permitd := build(t)
	bounded := []string{"--max-memory", strconv.FormatInt(most, 10)}
	away := append([]string{"--redis-url", "redis://127.0.0.1:1"}, bounded...)
	asks := func(p *process) map[string]int { return p.asks(n) }
	for name, flood := range map[string]struct {
		scope string
		args  []string
		send  func(*process) map[string]int
		full  bool // there is no room for all of it
	}{
		"asks with 16 limits, holds and idempotency keys":        {"provider", bounded, asks, false},
		"keys with 16 limits, holds and idempotency keys":        {"key", bounded, asks, true},
		"keys without Redis":                                     {"key", away, asks, true},
		"asks without Redis":                                     {"provider", away, asks, true},
		"permits that were forged, which another may have given": {"key", away, func(p *process) map[string]int { return p.forged(n) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProcess(t, permitd, flood.scope, flood.args...)
			answers := flood.send(p)
			used, bound := int64(p.figure("permitd_memory_used_bytes")), int64(p.figure("permitd_memory_max_bytes"))
			rss := p.end()
			t.Logf("answers %v; %d KiB counted of %d, at most %d resident", answers, used>>10, bound>>10, rss>>10)
			if refused := answers["503"]; answers["200"]+refused != n || (refused > 0) != flood.full || answers["200"] < n/50 {
				t.Errorf("answers %v", answers)
			}
			if bound != most || used > most*101/100 || used < most/8 || flood.full && used < most*9/10 {
				t.Errorf("%d bytes counted, of %d", used, bound)
			}
			if rss > most+beside {
				t.Errorf("%d bytes resident, want at most %d", rss, most+beside)
			}
		})
	}
}
