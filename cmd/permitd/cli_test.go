package main

import (
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter"
)

// TestUsageErrors: whatever is wrong with how permitd is called, it exits 2 and says so in one line.
func TestUsageErrors(t *testing.T) {
	bad := file(t, "bad.yaml", "providers:\n  openrouter:\n    limits:\n      rpm: {scope: key, kind: rate, amount: 0, per: 1m}\n")
	cert, _ := certificate(t, "a")
	badTokens := file(t, "tokens", "# of the team\npermits:a:first-secret\n\nviewer:a:other-secret\n")
	pipe := namedPipe(t)
	loopback := "without tokens permitd listens on loopback only, 127.0.0.1:PORT, [::1]:PORT or localhost:PORT: set --tokens, or --insecure-no-auth"
	hostPort := "must be HOST:PORT with a port from 0 to 65535, such as 127.0.0.1:8080"
	for _, tt := range []struct {
		args string // separated by spaces
		env  string // NAME=value
		want string // what the line starts with
	}{
		{args: "--addr :8080", want: `--addr ":8080": ` + loopback},
		{args: "--addr 0.0.0.0:8080", want: `--addr "0.0.0.0:8080": ` + loopback},
		{args: "--addr [::]:8080", want: `--addr "[::]:8080": ` + loopback},
		{args: "--addr 10.0.0.1:8080", want: `--addr "10.0.0.1:8080": ` + loopback},
		{args: "--addr example.com:8080", want: `--addr "example.com:8080": ` + loopback},
		{args: "serve --addr 127.0.0.1", want: `--addr "127.0.0.1": ` + hostPort},
		{args: "--addr 127.0.0.1:http", want: `--addr "127.0.0.1:http": ` + hostPort},
		{args: "--addr 127.0.0.1:65536", want: `--addr "127.0.0.1:65536": ` + hostPort},
		{args: "--addr=", want: `--addr "": ` + hostPort},
		{env: "PERMITD_ADDR=0.0.0.0:80", want: `PERMITD_ADDR (--addr) "0.0.0.0:80": ` + loopback},
		{args: "--addr x", env: "PERMITD_ADDR=127.0.0.1:0", want: `--addr "x": ` + hostPort},
		{args: "--admin-addr :8081", want: `--admin-addr ":8081": ` + loopback},
		{env: "PERMITD_ADMIN_ADDR=10.0.0.1:1", want: `PERMITD_ADMIN_ADDR (--admin-addr) "10.0.0.1:1": ` + loopback},
		{args: "--admin-addr 8081", want: `--admin-addr "8081": ` + hostPort},
		{args: "--insecure-no-auth --addr x", want: `--addr "x": ` + hostPort},
		{args: "--insecure-no-auth --drain-delay x", want: `--drain-delay "x": `},
		{args: "--insecure-no-auth=no --addr :8080", want: `--insecure-no-auth "no": must be true or false`},
		{args: "--insecure-no-auth=false --addr :8080", want: `--addr ":8080": ` + loopback},
		{env: "PERMITD_INSECURE_NO_AUTH=maybe", want: `PERMITD_INSECURE_NO_AUTH (--insecure-no-auth) "maybe": must be true or false`},
		{args: "--tokens permits:a:first-secret,admin:b:other-secret", want: `--tokens (not shown: it may hold tokens): entry 2: the role must be permits, viewer or operator`},
		{env: "PERMITD_TOKENS=permits:a:first-secret\nviewer:b:first-secret", want: `PERMITD_TOKENS (--tokens) (not shown: it may hold tokens): entry 2 (b): an earlier entry has the same token`},
		{args: "--tokens secret", want: `--tokens (not shown: it may hold tokens): entry 1: must be role:name:token; a file is given as @FILE`},
		{args: "--tokens ,", want: `--tokens (not shown: it may hold tokens): names no token: it takes at least one role:name:token`},
		{args: "--tokens @missing", want: `--tokens "@missing": must be a file that can be read: no such file or directory`},
		{args: "--tokens @.", want: `--tokens "@.": must be a file that can be read: is a directory`},
		{args: "--tokens @", want: `--tokens "@": must be a file that can be read: `},
		{args: "--tokens @" + pipe, want: `--tokens "@` + pipe + `": must be a file that can be read: it is a named pipe: give a regular file`},
		{args: "--tokens @/dev/zero", want: `--tokens "@/dev/zero": must be a file that can be read: it is a device or a socket: give a regular file`},
		{args: "--tls-cert " + pipe + " --tls-key " + pipe, want: `--tls-cert "` + pipe + `", --tls-key "` + pipe + `": must be PEM files of a certificate and its private key: ` + pipe + ": it is a named pipe"},
		{args: "--tokens @" + badTokens, want: `--tokens "@` + badTokens + `": entry 2 (a): an earlier entry has this name`},
		{args: "--tokens permits:a:short --drain-delay x", want: `--drain-delay "x": `},
		{args: "--tokens permits:a:first-secret, viewer:b:other-secret", want: "unexpected argument (not shown: it may be a token): put the whole list of --tokens in quotes"},
		{args: "--tokens permits:a:first-secret other-secret", want: "unexpected argument (not shown"},
		{args: "--trusted-proxies 10.0.0.0/8,somewhere", want: `--trusted-proxies "10.0.0.0/8,somewhere": must be addresses or CIDRs separated by commas, such as 10.0.0.0/8,192.0.2.7, and "somewhere" is neither`},
		{env: "PERMITD_TRUSTED_PROXIES=10.0.0.0/33", want: `PERMITD_TRUSTED_PROXIES (--trusted-proxies) "10.0.0.0/33": must be`},
		{args: "--log-level loud", want: `--log-level "loud": must be debug, info, warn or error`},
		{env: "PERMITD_LOG_LEVEL=loud", want: `PERMITD_LOG_LEVEL (--log-level) "loud": must be debug, info, warn or error`},
		{args: "--log-format xml", want: `--log-format "xml": must be text or json`},
		{env: "PERMITD_LOG_FORMAT=xml", want: `PERMITD_LOG_FORMAT (--log-format) "xml": must be text or json`},
		{args: "--max-memory 1MiB", want: `--max-memory "1MiB": must be a size of at least 16MiB, such as 512MiB or 2GiB`},
		{args: "--max-memory=-1GiB", want: `--max-memory "-1GiB": must be a size`},
		{args: "--max-memory 99999999999999999999", want: `--max-memory "99999999999999999999": must be a size`},
		{env: "PERMITD_MAX_MEMORY=much", want: `PERMITD_MAX_MEMORY (--max-memory) "much": must be a size`},
		{args: "--drain-delay 5", want: `--drain-delay "5": must be a duration from 0s to 1h, such as 5s`},
		{args: "--drain-delay=-5s", want: `--drain-delay "-5s": must be a duration from 0s to 1h, such as 5s`},
		{args: "--drain-delay 2h", want: `--drain-delay "2h": must be a duration from 0s to 1h, such as 5s`},
		{env: "PERMITD_DRAIN_DELAY=soon", want: `PERMITD_DRAIN_DELAY (--drain-delay) "soon": must be a duration`},
		{args: "--idle-timeout 0s", want: `--idle-timeout "0s": must be a duration from 1s to 24h, such as 11m`},
		{args: "--idle-timeout 25h", want: `--idle-timeout "25h": must be a duration from 1s to 24h, such as 11m`},
		{env: "PERMITD_IDLE_TIMEOUT=660", want: `PERMITD_IDLE_TIMEOUT (--idle-timeout) "660": must be a duration`},
		{args: "--max-connections 0", want: `--max-connections "0": must be a whole number from 1 to 1000000`},
		{args: "--max-connections 1000001", want: `--max-connections "1000001": must be a whole number from 1 to 1000000`},
		{env: "PERMITD_MAX_CONNECTIONS=many", want: `PERMITD_MAX_CONNECTIONS (--max-connections) "many": must be`},
		{args: "--tls-cert a.pem", want: `--tls-cert "a.pem": needs --tls-key (PERMITD_TLS_KEY) as well`},
		{args: "--tls-key a.pem", want: `--tls-key "a.pem": needs --tls-cert (PERMITD_TLS_CERT) as well`},
		{env: "PERMITD_TLS_CERT=a.pem", want: `PERMITD_TLS_CERT (--tls-cert) "a.pem": needs --tls-key`},
		{args: "--tls-cert missing.pem --tls-key missing.pem", want: `--tls-cert "missing.pem", --tls-key "missing.pem": must be PEM files of a certificate and its private key: `},
		{args: "--tls-cert " + cert + " --tls-key " + bad, want: `--tls-cert "` + cert + `", --tls-key "` + bad + `": must be PEM files`},
		{args: "--policies missing.yaml", want: `--policies "missing.yaml": must be a YAML file that can be read: no such file or directory`},
		{args: "--policies .", want: `--policies ".": must be a YAML file that can be read: is a directory`},
		{args: "--policies " + bad, want: `--policies: ` + bad + `:4: `},
		{env: "PERMITD_POLICIES=" + bad, want: `PERMITD_POLICIES (--policies): ` + bad + `:4: `},
		{args: "--nonsense", want: "unknown flag --nonsense"},
		{args: "--redis-url http://u:secret@x", want: "--redis-url (not shown: it may hold a password): with --redis-mode single it must be redis://"},
		{args: "--redis-url redis://u:12#secret@x", want: "--redis-url (not shown: it may hold a password): with --redis-mode single it can't be read as it is meant: percent-encode"},
		{args: "--redis-url redis://u:12?secret@x", want: "--redis-url (not shown: it may hold a password): with --redis-mode single it must be redis://USER:PASSWORD@HOST:PORT/DB, rediss://… or unix://PATH; percent-encode"},
		{args: "--redis-mode sentinel --redis-url redis://u:secret@x", want: "--redis-url (not shown: it may hold a password): with --redis-mode sentinel it lacks master_name=NAME"},
		{args: "--redis-mode cluster --redis-url redis://u:secret@x?read_only=true", want: "--redis-url (not shown: it may hold a password): with --redis-mode cluster it asks for replicas"},
		{args: "--redis-mode cluster --redis-url unix:///x", want: "--redis-url (not shown: it may hold a password): with --redis-mode cluster it must be redis://"},
		{env: "PERMITD_REDIS_URL=x:secret@y", want: "PERMITD_REDIS_URL (--redis-url) (not shown"},
		{args: "--redis-mode sentinel", want: `--redis-mode "sentinel": needs --redis-url (PERMITD_REDIS_URL) as well`},
		{args: "--redis-mode both", want: `--redis-mode "both": must be single, sentinel or cluster`},
		{args: "--redis-prefix a{b}", want: `--redis-prefix "a{b}": must be 1 to 64 of A-Z a-z 0-9 . _ : -`},
		{args: "nonsense", want: "unexpected argument nonsense"},
		{args: "serve extra", want: "unexpected argument extra"},
		{args: "--addr", want: "--addr: needs a value"},
		{args: "check", want: `expected "<file>"`},
		{args: "check a b", want: "unexpected argument b"},
		{args: "health --addr 8080", want: `--addr "8080": ` + hostPort},
		{args: "health --url localhost", want: `--url "localhost": must be a URL`},
		{args: "health --url ftp://localhost", want: `--url "ftp://localhost": must be a URL`},
		{args: "apply", want: `expected "<file>"`},
		{args: "apply a b", want: "unexpected argument b"},
		{args: "apply --addr 8080 a", want: `--addr "8080": ` + hostPort},
		{args: "apply a", env: "PERMITD_ADMIN_ADDR=8081", want: `PERMITD_ADMIN_ADDR (--addr) "8081": ` + hostPort},
		{args: "apply --url localhost a", want: `--url "localhost": must be a URL such as http://127.0.0.1:8080`},
		{args: "export --url http://h/?a=b", want: `--url "http://h/?a=b": must be a URL such as`},
		{args: "export --url http://u:secret@h", want: `--url "(not shown: it may hold a password)": must be a URL such as`},
		{args: "apply --note " + strings.Repeat("n", 201) + " a", want: `--note "nnn`},
		{args: "apply --note \x1b a", want: `--note "\x1b": must be at most 200 printable characters`},
		{args: "apply --token @missing a", want: `--token "@missing": must be a token, or @ and a file that can be read: no such file or directory`},
		{args: "apply --token @" + bad + " a", want: `--token "@` + bad + `": the file must hold one token, without spaces, and nothing else`},
		{args: "export", env: "PERMITD_TOKEN=a secret", want: "PERMITD_TOKEN (--token) (not shown): must be a token, without spaces, or @PATH"},
		{args: "export --tls-cert " + bad, want: `--tls-cert "` + bad + `": must be a PEM file of certificates: there is no certificate in it`},
		{args: "export A", want: `"A" can't name a provider`},
	} {
		t.Run(tt.args+tt.env, func(t *testing.T) {
			if name, value, ok := strings.Cut(tt.env, "="); ok {
				t.Setenv(name, value)
			}
			code, stdout, stderr := call(t, "", strings.Fields(tt.args)...)
			if code != 2 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "permitd: "+tt.want) || strings.Contains(stderr, "secret") {
				t.Errorf("exit %d, stdout %q, stderr\n%swant\npermitd: %s", code, stdout, stderr, tt.want)
			}
		})
	}
}

func TestEveryFaultOfPoliciesIsNamed(t *testing.T) {
	bad := file(t, "bad.yaml", "providers:\n  a:\n    limits:\n      rpm: {scope: key, kind: rate, amount: 0, per: 1m}\n      rpd: {scope: nobody, kind: quota, amount: 1, per: day}\n")
	code, _, stderr := call(t, "", "--policies", bad)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if code != 2 || len(lines) != 2 || !strings.Contains(lines[0], bad+":4: ") || !strings.Contains(lines[1], bad+":5: ") {
		t.Errorf("exit %d\n%s", code, stderr)
	}
}

func TestHelp(t *testing.T) {
	code, stdout, stderr := call(t, "", "--help")
	if code != 0 || stderr != "" {
		t.Errorf("exit %d, stderr %q", code, stderr)
	}
	for _, want := range []string{
		"serve", "check FILE", "apply FILE", "export [NAME ...]", "--dry-run", "--note", "--token", "PERMITD_TOKEN", "key-id", "health", "--version", "--url",
		"--addr", "PERMITD_ADDR", "default: 127.0.0.1:8080", "--tls-cert", "PERMITD_TLS_CERT", "--tls-key", "PERMITD_TLS_KEY",
		"--admin-addr", "PERMITD_ADMIN_ADDR", "--tokens LIST", "PERMITD_TOKENS", "--trusted-proxies", "PERMITD_TRUSTED_PROXIES",
		"--insecure-no-auth", "PERMITD_INSECURE_NO_AUTH default: false",
		"--policies", "PERMITD_POLICIES", "--drain-delay", "PERMITD_DRAIN_DELAY", "default: 0s",
		"--idle-timeout", "PERMITD_IDLE_TIMEOUT", "default: 11m", "--max-connections", "PERMITD_MAX_CONNECTIONS", "default: 10000",
		"--max-memory", "PERMITD_MAX_MEMORY",
		"--log-level", "PERMITD_LOG_LEVEL", "default: info", "--log-format", "PERMITD_LOG_FORMAT", "default: text",
	} {
		if !strings.Contains(stdout, want) {
			t.Errorf("help lacks %q", want)
		}
	}
	for _, line := range strings.Split(stdout, "\n") {
		if len(line) > 110 {
			t.Errorf("long line %q", line)
		}
	}
	for _, args := range [][]string{{"check", "--help"}, {"health", "-h"}, {"serve", "--help"}, {"--addr", "nonsense", "--help"}} {
		if code, stdout, stderr := call(t, "", args...); code != 0 || stdout == "" || stderr != "" {
			t.Errorf("%q: exit %d, %q, %q", args, code, stdout, stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	if code, stdout, _ := call(t, "", "--version"); code != 0 || !strings.HasPrefix(stdout, "permitd ") || strings.Count(stdout, "\n") != 1 {
		t.Errorf("exit %d, %q", code, stdout)
	}
}

func TestKeyID(t *testing.T) {
	id := limiter.KeyID("sk-1") + "\n"
	for stdin, want := range map[string]string{
		"sk-1":                                 id,
		"sk-1\n":                               id,
		"sk-1\r\n":                             id,
		strings.Repeat("k", limiter.MaxKeyLen): limiter.KeyID(strings.Repeat("k", limiter.MaxKeyLen)) + "\n",
		strings.Repeat("é", limiter.MaxKeyLen): limiter.KeyID(strings.Repeat("é", limiter.MaxKeyLen)) + "\n",
	} {
		if code, stdout, stderr := call(t, stdin, "key-id"); code != 0 || stdout != want || stderr != "" {
			t.Errorf("%q: exit %d, %q, %q", stdin, code, stdout, stderr)
		}
	}
	for _, stdin := range []string{"", "\n", "sk-1\n\n", "sk\t1", "sk-\xff", strings.Repeat("k", limiter.MaxKeyLen+1), strings.Repeat("k", 1<<20)} {
		code, stdout, stderr := call(t, stdin, "key-id")
		if code != 2 || stdout != "" || stderr != "permitd: the key on standard input must be 1 to 4096 printable characters\n" {
			t.Errorf("%.20q: exit %d, %q, %q", stdin, code, stdout, stderr)
		}
	}
	if code, stdout, stderr := call(t, "", "key-id", "sk-secret"); code != 2 || stdout != "" || strings.Contains(stderr, "secret") || !strings.Contains(stderr, "standard input") {
		t.Errorf("key as an argument: exit %d, %q, %q", code, stdout, stderr)
	}
}

func TestCheck(t *testing.T) {
	good := file(t, "good.yaml", goodPolicies)
	code, stdout, stderr := call(t, "", "check", good)
	if code != 0 || stdout != good+": ok, 2 providers, 3 limits\n" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	if !strings.HasPrefix(stderr, good+":6: warning: ") || strings.Count(stderr, "\n") != 1 { // rps admits 2000 in a second, and nobody said so
		t.Errorf("warnings %q", stderr)
	}
	one := file(t, "one.yaml", "providers:\n  a:\n    limits:\n      rpd: {scope: key, kind: quota, amount: 1, per: day}\n")
	if code, stdout, stderr := call(t, "", "check", one); code != 0 || stdout != one+": ok, 1 provider, 1 limit\n" || stderr != "" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	bad := file(t, "bad.yaml", "providers:\n  a:\n    limits:\n      rpm: {scope: key, kind: rate, amount: 0, per: 1m}\n  b: 7\n")
	code, stdout, stderr = call(t, "", "check", bad)
	lines := strings.Split(strings.TrimSpace(stderr), "\n")
	if code != 1 || stdout != "" || len(lines) != 2 || !strings.HasPrefix(lines[0], bad+":4: ") || !strings.HasPrefix(lines[1], bad+":5: ") {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
	code, stdout, stderr = call(t, "", "check", "missing.yaml")
	if code != 1 || stdout != "" || stderr != "permitd: missing.yaml: can't be read: no such file or directory\n" {
		t.Errorf("exit %d, %q, %q", code, stdout, stderr)
	}
}

// TestEmptyEnvironmentIsUnset: compose files set variables to nothing to leave them out.
func TestEmptyEnvironmentIsUnset(t *testing.T) {
	for _, name := range []string{"PERMITD_ADMIN_ADDR", "PERMITD_TOKENS", "PERMITD_INSECURE_NO_AUTH", "PERMITD_TRUSTED_PROXIES", "PERMITD_TLS_CERT", "PERMITD_POLICIES", "PERMITD_DRAIN_DELAY", "PERMITD_LOG_LEVEL", "PERMITD_LOG_FORMAT"} {
		t.Setenv(name, "")
	}
	i := start(t)
	if status, _, err := i.get("/readyz"); err != nil || status != 200 {
		t.Errorf("%d %v", status, err)
	}
}
