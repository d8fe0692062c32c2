package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// Exit codes.
const (
	exitOK      = 0
	exitFailure = 1 // the command could not do what it was asked for
	exitUsage   = 2 // it was asked wrongly
)

// cli is the command line. Settings are text here and are checked in settings.go, so that whatever is wrong with one is
// said in the same words wherever it was given.
type cli struct {
	Version kong.VersionFlag `help:"Print the version and exit."`

	Serve  serveCommand  `cmd:"" default:"withargs" help:"Answer asks for permits over HTTP. This is what permitd does without a command."`
	Check  checkCommand  `cmd:"" help:"Check a policy file: exit 0 when it is good, 1 with file:line: message for every fault."`
	Apply  applyCommand  `cmd:"" help:"Bring a running permitd in line with a policy file, pool and key entries included."`
	Export exportCommand `cmd:"" help:"Write the policies and entries of a running permitd to standard output as a policy file."`
	KeyID  keyIDCommand  `cmd:"" name:"key-id" help:"Read an API key on standard input and print its key id."`
	Health healthCommand `cmd:"" help:"Ask a running permitd whether it is ready: exit 0 when it is, else 1."`
}

type serveCommand struct {
	Addr           string `env:"PERMITD_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where to listen; without tokens on loopback only: 127.0.0.1, [::1] or localhost. Port 0 picks a free one; the bound address is printed when ready."`
	AdminAddr      string `name:"admin-addr" env:"PERMITD_ADMIN_ADDR" placeholder:"HOST:PORT" help:"Where to listen for all but permits, so that --addr has nothing but /v1/permits and the health routes. They are on both."`
	Tokens         string `env:"PERMITD_TOKENS" placeholder:"LIST" help:"Who may use permitd: role:name:token, separated by commas or newlines, or @FILE, which is read again when it changes, and at SIGHUP, and keeps tokens out of the process list; it ends with a newline. Roles: permits (ask for permits), viewer (read everything else, and preview), operator (everything). A token may be given as sha256: and its SHA-256 in hex. One of fewer than 16 characters is refused when permitd listens beyond loopback. Names are A-Z a-z 0-9 . _ -, and unique."`
	InsecureNoAuth toggle `name:"insecure-no-auth" env:"PERMITD_INSECURE_NO_AUTH" default:"false" help:"Listen beyond loopback without tokens, so that whoever reaches permitd may do everything."`
	TrustedProxies string `name:"trusted-proxies" env:"PERMITD_TRUSTED_PROXIES" placeholder:"LIST" help:"Addresses and CIDRs of proxies, separated by commas, whose X-Forwarded-For or Forwarded says who the client is. They are not believed from others, nor where both are sent and disagree."`
	TLSCert        string `name:"tls-cert" env:"PERMITD_TLS_CERT" placeholder:"FILE" help:"PEM file of the certificate and its chain; makes permitd speak HTTPS. Read again when it changes."`
	TLSKey         string `name:"tls-key" env:"PERMITD_TLS_KEY" placeholder:"FILE" help:"PEM file of the certificate's private key. Read again when it changes."`
	RedisURL       string `name:"redis-url" env:"PERMITD_REDIS_URL" placeholder:"URL" help:"The Redis that instances share: redis://USER:PASSWORD@HOST:PORT/DB, rediss:// for TLS, or unix://PATH; in a password write / as %2F, # as %23, ? as %3F, % as %25. Of sentinels: redis://HOST:PORT/DB?master_name=NAME&addr=HOST:PORT; of a cluster: redis://USER:PASSWORD@HOST:PORT?addr=HOST:PORT. Without one, counters and policies are in memory: for one instance, and gone at exit."`
	RedisMode      string `name:"redis-mode" env:"PERMITD_REDIS_MODE" default:"single" placeholder:"MODE" help:"How Redis is set up, and so whom --redis-url names: single, sentinel (the sentinels of a primary) or cluster (some of its nodes)."`
	RedisPrefix    string `name:"redis-prefix" env:"PERMITD_REDIS_PREFIX" default:"permitd" placeholder:"NAME" help:"First part of every key in Redis."`
	Policies       string `env:"PERMITD_POLICIES" placeholder:"FILE" help:"YAML file of policies. Without one, permitd starts with its built-in starter policies."`
	MinInstances   string `name:"min-instances" env:"PERMITD_MIN_INSTANCES" default:"1" placeholder:"N" help:"How many instances at least share a limit while Redis is away and the policy says share: set it to how many you run, so that one that starts meanwhile does not take more than its part. At most 10000."`
	MaxMemory      string `name:"max-memory" env:"PERMITD_MAX_MEMORY" placeholder:"SIZE" help:"How much memory counters, holds and remembered grants may take, such as 512MiB: without Redis all of them, else those of the time that it is away. Asks that need more are answered 503 overloaded; usage is never forgotten. Without it, a quarter of what permitd may use, by its cgroup, GOMEMLIMIT or the machine."`
	DrainDelay     string `env:"PERMITD_DRAIN_DELAY" default:"0s" placeholder:"DURATION" help:"How long to go on serving after SIGTERM, with /readyz at 503 and every answer closing its connection, before no more is accepted. Set it to the time in which load balancers notice. What is in flight then, and what still comes on open connections, has 10 s to finish."`
	IdleTimeout    string `name:"idle-timeout" env:"PERMITD_IDLE_TIMEOUT" default:"11m" placeholder:"DURATION" help:"How long a connection is kept open between requests. Set it to more than load balancers and clients keep theirs, so that it is they who close it."`
	MaxConnections string `name:"max-connections" env:"PERMITD_MAX_CONNECTIONS" default:"10000" placeholder:"N" help:"How many connections are open at once, at most, on each of the two addresses, those without a request included. Beyond it the one that was silent for longest makes way for a new one."`
	LogLevel       string `env:"PERMITD_LOG_LEVEL" default:"info" placeholder:"LEVEL" help:"What is logged to standard error: debug (every request), info, warn or error."`
	LogFormat      string `env:"PERMITD_LOG_FORMAT" default:"text" placeholder:"FORMAT" help:"How it is logged: text or json."`
}

type checkCommand struct {
	File string `arg:"" help:"The policy file."`
}

type applyCommand struct {
	File   string `arg:"" help:"The policy file. What permitd has and the file has not is left as it is."`
	DryRun bool   `name:"dry-run" help:"Say what would be changed, and change nothing."`
	Note   string `placeholder:"TEXT" help:"Why, for the history: at most 200 characters."`
	remoteFlags
}

type exportCommand struct {
	Provider []string `arg:"" name:"name" optional:"" help:"Export only these providers."`
	remoteFlags
}

type keyIDCommand struct{}

type healthCommand struct {
	Addr    string `env:"PERMITD_ADDR" default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Where permitd listens."`
	URL     string `name:"url" placeholder:"URL" help:"The URL to ask instead, such as https://permitd.internal; /readyz is added when it has no path."`
	TLSCert string `name:"tls-cert" env:"PERMITD_TLS_CERT" placeholder:"FILE" help:"The certificate that permitd was given; makes this ask by HTTPS, and trust it."`
}

// run is the whole program: it runs the command that args name and returns the exit code. It ends early, and in order,
// when ctx does.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	var c cli
	done := false // --help or --version have been answered
	parser, err := kong.New(&c,
		kong.Name("permitd"),
		kong.Description("permitd hands out permits for calls to rate-limited APIs, so that many callers together stay within the limits."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(int) { done = true }),
		kong.Vars{"version": version()},
		kong.Help(helpFor(args)),
	)
	if err != nil {
		panic(err) // cli does not make sense, whatever the arguments are
	}
	parsed, err := parser.Parse(args)
	if done {
		return exitOK
	}
	if err != nil {
		return complain(stderr, usageError(args, err))
	}
	given := settingsOf(parsed)
	switch command, _, _ := strings.Cut(parsed.Command(), " "); command {
	case "check":
		return c.Check.run(stdout, stderr)
	case "apply":
		return c.Apply.run(ctx, given, stdout, stderr)
	case "export":
		return c.Export.run(ctx, given, stdout, stderr)
	case "key-id":
		return c.KeyID.run(stdin, stdout, stderr)
	case "health":
		return c.Health.run(ctx, given, stdout, stderr)
	}
	return c.Serve.run(ctx, given, stdout, stderr)
}

// usageError words what the command line parser found wrong.
func usageError(args []string, err error) error {
	text := strings.ReplaceAll(err.Error(), "\n", " ")
	text = strings.ReplaceAll(text, `expected string value but got "EOL" (<EOL>)`, "needs a value")
	if slices.Contains(args, "key-id") && strings.HasPrefix(text, "unexpected argument") {
		text = "unexpected argument: key-id reads the key on standard input, where no process list shows it" // it may be the key
	}
	tokens := slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, "--tokens") })
	if tokens && (strings.HasPrefix(text, "unexpected argument") || strings.HasPrefix(text, "unknown flag") && strings.Contains(text, ":")) {
		text = "unexpected argument (not shown: it may be a token): put the whole list of --tokens in quotes"
	}
	return fmt.Errorf("%s (permitd --help shows what there is)", text)
}

// complain says what is wrong with how permitd was called, in one line.
func complain(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "permitd: %v\n", err)
	return exitUsage
}

// failed says why a command could not be carried out, in one line.
func failed(stderr io.Writer, err error) int {
	fmt.Fprintf(stderr, "permitd: %v\n", err)
	return exitFailure
}

// settings tell where the flags of the command that runs were given.
type settings struct {
	env  map[string]string // flag → environment variable, of those that were given there
	line map[string]bool   // flags that were given on the command line
}

// settingsOf finds out where settings come from. An environment variable that is set to nothing counts as not set.
func settingsOf(parsed *kong.Context) settings {
	s := settings{env: map[string]string{}, line: map[string]bool{}}
	for _, p := range parsed.Path {
		if p.Flag != nil {
			s.line[p.Flag.Name] = true
		}
	}
	for _, f := range parsed.Flags() {
		if s.line[f.Name] || len(f.Envs) == 0 {
			continue
		}
		set := slices.IndexFunc(f.Envs, func(env string) bool { return os.Getenv(env) != "" })
		if set >= 0 {
			s.env[f.Name] = f.Envs[set]
			f.Target.SetString(os.Getenv(f.Envs[set])) // the parser stops at one that is set to nothing
		} else if f.HasDefault {
			f.Target.SetString(f.Default)
		}
	}
	return s
}

// set reports whether a flag was given, there or in the environment.
func (s settings) set(flag string) bool { return s.line[flag] || s.env[flag] != "" }

// name is a setting as its user knows it: the flag, or the variable and the flag.
func (s settings) name(flag string) string {
	if env := s.env[flag]; env != "" {
		return env + " (--" + flag + ")"
	}
	return "--" + flag
}

// bad is what is said of a setting whose value can't be used.
func (s settings) bad(flag, value, allowed string) error {
	return fmt.Errorf("%s %q: %s", s.name(flag), value, allowed)
}
