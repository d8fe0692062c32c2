package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"syscall"
	"time"

	"github.com/permitd/permitd/scripts/internal/proc"
)

// numInstances is how many permitd there are.
const numInstances = 3

// policies admit whatever is asked: that nothing is decided without Redis is no matter here.
const policies = `providers:
  p:
    on_store_failure: allow
    limits:
      all: {scope: provider, kind: rate, amount: 1000000, per: 1s}
`

// fleet is the instances, what they share, and what is in front of them.
type fleet struct {
	dir, binary string
	delay       time.Duration
	redis       *proc.Redis
	addrs       [numInstances]string
	instances   [numInstances]*proc.Process
	haproxy     *proc.Process
	balancer    string // its URL
}

// patience is how long a process may take to be ready, and to end after its delay.
const patience = 20 * time.Second

// newFleet starts all. Close it, also after an error.
func newFleet(ctx context.Context, delay time.Duration) (*fleet, error) {
	f := &fleet{delay: delay}
	var err error
	if f.dir, err = os.MkdirTemp("", "permitd-rolls-"); err != nil {
		return f, err
	}
	f.binary = filepath.Join(f.dir, "permitd")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", f.binary, "./cmd/permitd").CombinedOutput(); err != nil {
		return f, fmt.Errorf("build permitd: %w\n%s", err, out)
	}
	if err := os.WriteFile(f.file("policies.yaml"), []byte(policies), 0o600); err != nil {
		return f, err
	}
	if f.redis, err = proc.StartRedis(ctx); err != nil {
		return f, err
	}
	for i := range f.instances {
		if f.addrs[i], err = freeAddr(); err != nil {
			return f, err
		}
		if err := f.start(ctx, i); err != nil {
			return f, err
		}
	}
	return f, f.startBalancer(ctx)
}

func (f *fleet) file(name string) string { return filepath.Join(f.dir, name) }

func (f *fleet) urls() (urls []string) {
	for _, addr := range f.addrs {
		urls = append(urls, "http://"+addr)
	}
	return urls
}

// start runs an instance and waits until it is ready.
func (f *fleet) start(ctx context.Context, i int) (err error) {
	log, err := os.OpenFile(f.file(fmt.Sprintf("permitd-%d.log", i)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close() // the process has it too
	cmd := exec.Command(f.binary, "--addr", f.addrs[i], "--redis-url", "redis://"+f.redis.Addr,
		"--policies", f.file("policies.yaml"), "--drain-delay", f.delay.String())
	cmd.Stderr = log
	if f.instances[i], err = proc.Start(cmd); err != nil {
		return fmt.Errorf("start permitd: %w", err)
	}
	return f.ready(ctx, f.instances[i], "http://"+f.addrs[i], log.Name())
}

// balancerSettings are the lines of the configuration that are others here.
var balancerSettings = map[string]*regexp.Regexp{
	"socket":  regexp.MustCompile(`(?m)^    log stdout .*$`),
	"bind":    regexp.MustCompile(`(?m)^    bind :8080$`),
	"workers": regexp.MustCompile(`(?m)^    server-template worker .*$`),
}

// startBalancer runs HAProxy as docker-compose.yml has it, but for where it listens and whom it asks.
func (f *fleet) startBalancer(ctx context.Context) error {
	program, err := exec.LookPath("haproxy")
	if err != nil {
		return errors.New("haproxy is missing: install it, as with apt-get install haproxy")
	}
	addr, err := freeAddr()
	if err != nil {
		return err
	}
	workers := ""
	for i, addr := range f.addrs {
		workers += fmt.Sprintf("    server worker%d %s\n", i, addr)
	}
	text, err := os.ReadFile("scripts/compose/haproxy.cfg")
	if err != nil {
		return err
	}
	for name, line := range map[string]string{
		"socket": "$0\n    stats socket " + f.file("haproxy.sock") + " level user", "bind": "    bind " + addr, "workers": workers,
	} {
		if len(balancerSettings[name].FindAll(text, -1)) != 1 {
			return fmt.Errorf("scripts/compose/haproxy.cfg has no line, or several, like %s: correct scripts/rolltest",
				balancerSettings[name])
		}
		text = balancerSettings[name].ReplaceAll(text, []byte(line))
	}
	if err := os.WriteFile(f.file("haproxy.cfg"), text, 0o600); err != nil {
		return err
	}
	log, err := os.Create(f.file("haproxy.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(program, "-db", "-f", f.file("haproxy.cfg"))
	cmd.Stdout, cmd.Stderr = log, log
	if f.haproxy, err = proc.Start(cmd); err != nil {
		return fmt.Errorf("start haproxy: %w", err)
	}
	f.balancer = "http://" + addr
	if err := f.ready(ctx, f.haproxy, f.balancer, log.Name()); err != nil {
		return err
	}
	return f.known(ctx)
}

// known waits until HAProxy takes all instances to be up.
func (f *fleet) known(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		up, err := f.up(ctx)
		if err != nil || up == numInstances {
			return err
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("HAProxy has %d of %d instances up", up, numInstances)
		}
	}
}

// up is how many instances HAProxy takes to be up.
func (f *fleet) up(ctx context.Context) (int, error) {
	c, err := new(net.Dialer).DialContext(ctx, "unix", f.file("haproxy.sock"))
	if err != nil {
		return 0, fmt.Errorf("ask HAProxy who is up: %w", err)
	}
	defer c.Close()
	if _, err := io.WriteString(c, "show stat -1 4 -1\n"); err != nil {
		return 0, fmt.Errorf("ask HAProxy who is up: %w", err)
	}
	text, err := io.ReadAll(c)
	if err != nil {
		return 0, fmt.Errorf("ask HAProxy who is up: %w", err)
	}
	up := 0
	for line := range bytes.Lines(text) { // CSV: the status is field 17
		if fields := bytes.Split(line, []byte(",")); len(fields) > 17 && string(fields[17]) == "UP" {
			up++
		}
	}
	return up, nil
}

// ready waits until /readyz is 200 at a process.
func (f *fleet) ready(ctx context.Context, p *proc.Process, url, log string) error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: time.Second}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		if resp, err := client.Get(url + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-time.After(10 * time.Millisecond):
			continue
		case <-p.Ended():
		case <-ctx.Done():
		}
		text, _ := os.ReadFile(log)
		return fmt.Errorf("%s is not ready; logged:\n%s", url, text)
	}
}

// roll restarts the instances one by one, each as soon as HAProxy knows that the one before is ready.
func (f *fleet) roll(ctx context.Context) error {
	for i, p := range f.instances {
		if err := p.Signal(syscall.SIGTERM); err != nil {
			return err
		}
		select {
		case <-p.Ended():
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.delay + patience):
			return fmt.Errorf("instance %d does not end", i)
		}
		if code := p.ExitCode(); code != 0 {
			text, _ := os.ReadFile(f.file(fmt.Sprintf("permitd-%d.log", i)))
			return fmt.Errorf("instance %d exited with %d; logged:\n%s", i, code, text)
		}
		if err := errors.Join(f.start(ctx, i), f.known(ctx)); err != nil {
			return err
		}
	}
	return nil
}

// close ends all. It keeps what was logged if asked to.
func (f *fleet) close(keep bool) {
	for _, p := range append(f.instances[:], f.haproxy) {
		if p != nil {
			p.Kill()
		}
	}
	if f.redis != nil {
		f.redis.Close()
	}
	if !keep {
		os.RemoveAll(f.dir)
	}
}

// freeAddr is an address on loopback that nobody listens on. Its port is not one that clients are given, so that it is
// free again when an instance comes back.
func freeAddr() (string, error) {
	for range 100 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 20000+rand.IntN(10000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String(), nil
		}
	}
	return "", errors.New("no port from 20000 to 29999 seems to be free on 127.0.0.1")
}
