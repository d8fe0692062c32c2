package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/policyfile"
	"github.com/permitd/permitd/limiter/redisstore/redisclient"
)

// config is what serve runs by, checked.
type config struct {
	access
	certificates   *certificates      // nil: plain HTTP
	redis          redisclient.Config // without a URL: in memory
	redisPrefix    string
	policies       *policyfile.File
	minInstances   int
	instancesKnown bool // minInstances was given
	memory         memory
	drainDelay     time.Duration
	idleTimeout    time.Duration
	connections    int // at most
	log            *slog.Logger
}

const (
	maxDrainDelay  = time.Hour // longer than any load balancer takes to notice
	maxIdleTimeout = 24 * time.Hour
	maxConnections = 1_000_000
)

// config checks the settings of serve. The error has a line for every fault, nearly always one.
func (c *serveCommand) config(given settings, stderr io.Writer) (*config, error) {
	cfg := &config{}
	var err error
	if cfg.log, err = c.logger(given, stderr); err != nil {
		return nil, err
	}
	if cfg.access, err = c.access(given, cfg.log); err != nil {
		return nil, err
	}
	if err := c.patience(given, cfg); err != nil {
		return nil, err
	}
	cfg.minInstances, err = strconv.Atoi(c.MinInstances)
	if err != nil || cfg.minInstances < 1 || cfg.minInstances > limiter.MaxInstances {
		return nil, given.bad("min-instances", c.MinInstances, "must be a whole number from 1 to 10000")
	}
	cfg.instancesKnown = given.set("min-instances")
	if cfg.memory, err = readMemory(given, c.MaxMemory); err != nil {
		return nil, err
	}
	if cfg.certificates, err = c.certificates(given, cfg.log); err != nil {
		return nil, err
	}
	if err := c.redis(given, cfg); err != nil {
		return nil, err
	}
	if cfg.policies, err = c.policies(given); err != nil {
		return nil, err
	}
	return cfg, nil
}

// patience checks the settings about connections.
func (c *serveCommand) patience(given settings, cfg *config) (err error) {
	cfg.drainDelay, err = time.ParseDuration(c.DrainDelay)
	if err != nil || cfg.drainDelay < 0 || cfg.drainDelay > maxDrainDelay {
		return given.bad("drain-delay", c.DrainDelay, "must be a duration from 0s to 1h, such as 5s")
	}
	cfg.idleTimeout, err = time.ParseDuration(c.IdleTimeout)
	if err != nil || cfg.idleTimeout < time.Second || cfg.idleTimeout > maxIdleTimeout {
		return given.bad("idle-timeout", c.IdleTimeout, "must be a duration from 1s to 24h, such as 11m")
	}
	cfg.connections, err = strconv.Atoi(c.MaxConnections)
	if err != nil || cfg.connections < 1 || cfg.connections > maxConnections {
		return given.bad("max-connections", c.MaxConnections, "must be a whole number from 1 to 1000000")
	}
	return nil
}

var redisPrefix = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,64}$`)

// redis checks the settings about Redis. The URL may hold a password and is not repeated.
func (c *serveCommand) redis(given settings, cfg *config) error {
	cfg.redis = redisclient.Config{Mode: redisclient.Mode(c.RedisMode), URL: c.RedisURL}
	if !slices.Contains(redisclient.Modes, cfg.redis.Mode) {
		return given.bad("redis-mode", c.RedisMode, "must be single, sentinel or cluster")
	}
	if !redisPrefix.MatchString(c.RedisPrefix) {
		return given.bad("redis-prefix", c.RedisPrefix, "must be 1 to 64 of A-Z a-z 0-9 . _ : -")
	}
	cfg.redisPrefix = c.RedisPrefix
	switch {
	case c.RedisURL == "" && cfg.redis.Mode != redisclient.Single:
		return given.bad("redis-mode", c.RedisMode, "needs --redis-url (PERMITD_REDIS_URL) as well")
	case c.RedisURL != "":
		if err := cfg.redis.Check(); err != nil {
			return fmt.Errorf("%s (not shown: it may hold a password): with --redis-mode %s it %w", given.name("redis-url"), cfg.redis.Mode, err)
		}
	}
	return nil
}

// splitAddr is the host of HOST:PORT, or what is wrong with it.
func splitAddr(addr string) (host, fault string) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "", "must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080"
	}
	return host, ""
}

func (c *serveCommand) logger(given settings, w io.Writer) (*slog.Logger, error) {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	level, ok := levels[c.LogLevel]
	if !ok {
		return nil, given.bad("log-level", c.LogLevel, "must be debug, info, warn or error")
	}
	opts := &slog.HandlerOptions{Level: level}
	switch c.LogFormat {
	case "text":
		return slog.New(slog.NewTextHandler(w, opts)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, opts)), nil
	}
	return nil, given.bad("log-format", c.LogFormat, "must be text or json")
}

func (c *serveCommand) certificates(given settings, log *slog.Logger) (*certificates, error) {
	switch {
	case c.TLSCert == "" && c.TLSKey == "":
		return nil, nil
	case c.TLSKey == "":
		return nil, given.bad("tls-cert", c.TLSCert, "needs --tls-key (PERMITD_TLS_KEY) as well, the PEM file of its private key")
	case c.TLSCert == "":
		return nil, given.bad("tls-key", c.TLSKey, "needs --tls-cert (PERMITD_TLS_CERT) as well, the PEM file of its certificate")
	}
	certs, err := followCertificates(c.TLSCert, c.TLSKey, log)
	if err != nil {
		return nil, fmt.Errorf("%s %q, %s %q: must be PEM files of a certificate and its private key: %w",
			given.name("tls-cert"), c.TLSCert, given.name("tls-key"), c.TLSKey, err)
	}
	return certs, nil
}

func (c *serveCommand) policies(given settings) (*policyfile.File, error) {
	if c.Policies == "" {
		f := policyfile.Starter()
		f.Warnings = nil // they are for whoever writes a file
		return f, nil
	}
	f, err := policyfile.Load(c.Policies)
	var faults *policyfile.Error
	if errors.As(err, &faults) {
		var lines []error
		for _, p := range faults.Problems {
			lines = append(lines, fmt.Errorf("%s: %s", given.name("policies"), p))
		}
		return nil, errors.Join(lines...)
	}
	if err != nil {
		return nil, given.bad("policies", c.Policies, "must be a YAML file that can be read: "+reason(err).Error())
	}
	return f, nil
}

// reason is why a file can't be read, without its name.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
