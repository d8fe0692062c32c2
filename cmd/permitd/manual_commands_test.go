package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/permitd/permitd/limiter/redisstore/redistest"
)

// tried says of each place in the manual that has commands who tries them: a test of this package, or a file.
var tried = map[[2]string]string{
	{"README.md", ""}: "TestReadme",

	{"docs/policies.md", "Policies as a file"}: "TestPoliciesPage",
	{"docs/asking.md", "Holds"}:                "TestAskingPage",

	{"docs/operating.md", "Access"}:                                "TestAccessSection",
	{"docs/operating.md", "Operations"}:                            "TestOperationsSection",
	{"docs/operating.md", "Tune one number in an incident"}:        "TestOperationsSection",
	{"docs/operating.md", "Try a change before it is made"}:        "TestOperationsSection",
	{"docs/operating.md", "Try a limit in shadow"}:                 "TestOperationsSection",
	{"docs/operating.md", "Take on a customer's account and keys"}: "TestOperationsSection",
	{"docs/operating.md", "Give one key a limit of its own"}:       "TestOperationsSection",
	{"docs/operating.md", "Rotate a customer's key"}:               "TestOperationsSection",
	{"docs/operating.md", "Forget usage"}:                          "TestOperationsSection",
	{"docs/operating.md", "See what was changed, and undo it"}:     "TestOperationsSection",
	{"docs/operating.md", "Rotate tokens"}:                         "TestOperationsSection",
	{"docs/operating.md", "Back up"}:                               "TestOperationsSection",
	{"docs/operating.md", "Memory"}:                                "cmd/permitd/flood_test.go",
	{"docs/operating.md", "With Docker"}:                           "scripts/compose-test",
	{"docs/operating.md", "Load"}:                                  "scripts/compose-test",
	{"docs/operating.md", "Faults"}:                                "scripts/compose-test",

	{"docs/load-tests.md", "The demonstration"}: "scripts/manual_test.go",
	{"docs/load-tests.md", "Replaying traffic"}: "cmd/loadtest/manual_test.go",
	{"docs/load-tests.md", "The mock provider"}: "cmd/loadtest/manual_test.go",
	{"docs/load-tests.md", "Made-up load"}:      "cmd/loadtest/manual_test.go",
	{"docs/load-tests.md", "When Redis fails"}:  "scripts/manual_test.go",
}

// TestEveryCommandIsTried: no command comes into the manual, or moves in it, without somebody who tries it.
func TestEveryCommandIsTried(t *testing.T) {
	found := map[[2]string]bool{}
	for _, name := range pages(t) {
		for _, b := range blocks(t, name) {
			at := [2]string{b.page, b.heading}
			if found[at] = true; tried[at] == "" {
				t.Errorf("%s, %q: nothing tries\n%s", b.page, b.heading, b.commands)
			}
		}
	}
	tests, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var sources strings.Builder
	for _, name := range tests {
		sources.WriteString(page(t, "cmd/permitd/"+name))
	}
	for at, by := range tried {
		if !found[at] {
			t.Errorf("%s has no commands under %q", at[0], at[1])
		}
		if strings.HasPrefix(by, "Test") {
			if !strings.Contains(sources.String(), "\nfunc "+by+"(") {
				t.Errorf("%s: there is no test %s", at, by)
			}
		} else if _, err := os.Stat(filepath.Join(manual, by)); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// TestFirstContact: whoever follows the README from its top has what each command needs.
func TestFirstContact(t *testing.T) {
	before, rest, _ := strings.Cut(page(t, "README.md"), "```sh\n")
	if !strings.Contains(before, "Go") || !strings.Contains(before, "1.26") {
		t.Error("does not say before the first command which Go it takes")
	}
	cloned, installed, uses := false, false, 0
	for part := range strings.SplitSeq(rest, "```sh\n") {
		commands, _, _ := strings.Cut(part, "```")
		for line := range strings.Lines(commands) {
			word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
			switch {
			case strings.HasPrefix(line, "git clone "):
				cloned = true
			case strings.HasPrefix(line, "go install ./cmd/..."):
				installed = true
			case word == "go" && !cloned:
				t.Errorf("before it is cloned: %s", line)
			case word == "permitd" || word == "loadtest":
				if uses++; !installed {
					t.Errorf("before it is installed: %s", line)
				}
			}
		}
	}
	if !cloned || uses == 0 {
		t.Errorf("cloned %t, %d commands of permitd", cloned, uses)
	}
}

// listening is a command that waits until permitd, started before it in the background, has said so many times in a
// file that it listens.
const listening = `
until [ "$(grep -c 'listening on' out)" = COUNT ]; do sleep 0.1; kill -0 $!; done
`

// TestReadme runs the README's commands but for getting the source and building it: against a permitd that is there, and
// with other ports.
func TestReadme(t *testing.T) {
	all := blocks(t, "README.md")
	if len(all) != 4 {
		t.Fatalf("the README has %d blocks of commands, want start, ask, install, several instances", len(all))
	}
	if !strings.HasSuffix(all[0].commands, "go run ./cmd/permitd\n") {
		t.Errorf("does not begin with permitd: %s", all[0].commands)
	}
	t.Run("ask", func(t *testing.T) {
		i := start(t)
		out, err := shell(t, t.TempDir(), strings.ReplaceAll(all[1].commands, "127.0.0.1:8080", i.addr()))
		if err != nil || strings.Count(out, "HTTP/1.1 200") != 2 || strings.Count(out, "HTTP/1.1 429") != 1 {
			t.Errorf("%v, want two granted and one denied\n%s", err, out)
		}
	})
	t.Run("install", func(t *testing.T) {
		says(t, t.TempDir(), strings.Replace(all[2].commands, "go install ./cmd/...", "", 1), nil, "--redis-url")
	})
	t.Run("several instances", func(t *testing.T) {
		one, other := freeAddr(t), freeAddr(t)
		redis, commands, _ := strings.Cut(all[3].commands, "\n")
		if !strings.HasPrefix(redis, "redis-server ") {
			t.Fatalf("does not begin with Redis: %s", redis)
		}
		commands = strings.ReplaceAll(commands, " &\n", "\n")
		commands = strings.NewReplacer("127.0.0.1:8081", one, "127.0.0.1:8082", other,
			"redis://127.0.0.1:6379", redistest.Start(t).URL(), "\n", " >> out 2>&1 &\n").Replace(commands)
		wait := strings.ReplaceAll(listening, "COUNT", "2")
		both := "until [ $(curl -fsS http://" + one + "/v1/instances | grep -o started_at | wc -l) = 2 ]; do sleep 0.1; done\n"
		says(t, t.TempDir(), commands+wait+both+"curl -fsS http://"+other+"/readyz", nil, `"status":"ready"`)
	})
}

// TestAskingPage asks for permits, and settles, extends and cancels them, as the page says.
func TestAskingPage(t *testing.T) {
	i := start(t)
	commands := strings.ReplaceAll(under(t, "docs/asking.md", "Holds"), "127.0.0.1:8080", i.addr())
	says(t, t.TempDir(), commands, nil, `"expires_at":"`, `"state":"settled"`, `"state":"cancelled"`, `"gpt-4o-tpm":-50`)
}

// TestPoliciesPage applies the page's example, and exports it.
func TestPoliciesPage(t *testing.T) {
	_, example, found := strings.Cut(page(t, "docs/policies.md"), "```yaml\n")
	example, _, closed := strings.Cut(example, "```")
	if !found || !closed {
		t.Fatal("the page has no example of a policy file")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "policies.yaml"), []byte(example), 0o600); err != nil {
		t.Fatal(err)
	}
	i := start(t)
	commands := under(t, "docs/policies.md", "Policies as a file") + "permitd check policies.yaml; grep 'label: Acme Inc' policies.yaml"
	says(t, dir, commands, []string{"PERMITD_ADDR=" + i.addr()}, "openrouter: pool acme created", "changes made")
}

// TestAccessSection starts a permitd with the tokens that it tells how to make.
func TestAccessSection(t *testing.T) {
	commands := under(t, "docs/operating.md", "Access")
	const serve = "permitd --addr 0.0.0.0:8080 --tokens @tokens\n"
	if !strings.HasSuffix(commands, serve) {
		t.Fatalf("does not end with %s", serve)
	}
	commands = strings.TrimSuffix(commands, serve) + "permitd --addr 0.0.0.0:0 --tokens @tokens > out 2>&1 &" +
		strings.ReplaceAll(listening, "COUNT", "1") + `
url=http://127.0.0.1:$(sed -n 's/.*listening on.*:\([0-9]*\)$/\1/p' out)
curl -sS -o /dev/null -w 'none: %{http_code}\n' $url/v1/providers
curl -sS -o /dev/null -w 'operator: %{http_code}\n' $url/v1/providers -H "Authorization: Bearer $(sed -n 's/^operator:ann://p' tokens)"
curl -sS -o /dev/null -w 'permits: %{http_code}\n' $url/v1/providers -H "Authorization: Bearer $(sed -n 's/^permits:replicas://p' tokens)"`
	says(t, t.TempDir(), commands, nil, "none: 401", "operator: 200", "permits: 403")
}

// TestReadmeProgram compiles and runs the README's lines of Go.
func TestReadmeProgram(t *testing.T) {
	_, lines, found := strings.Cut(page(t, "README.md"), "```go\n")
	lines, _, closed := strings.Cut(lines, "```")
	if !found || !closed {
		t.Fatal("the README has no Go")
	}
	dir := t.TempDir()
	program := `package main

import (
	"context"
	"fmt"

	"github.com/permitd/permitd/limiter"
	"github.com/permitd/permitd/limiter/memstore"
)

func ask(ctx context.Context, apiKey string) error {
` + lines + `
	fmt.Println("allowed:", d.Allowed)
	return nil
}

func main() { fmt.Println(ask(context.Background(), "sk-example")) }
`
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	says(t, ".", "go run "+filepath.Join(dir, "main.go"), nil, "allowed: true\n<nil>\n")
}

// pages are the pages of the manual, in order.
func pages(t *testing.T) []string {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(manual, "docs/*.md"))
	if err != nil || len(all) == 0 {
		t.Fatalf("docs: %v, %v", all, err)
	}
	names := []string{"README.md"}
	for _, path := range all {
		names = append(names, "docs/"+filepath.Base(path))
	}
	slices.Sort(names)
	return names
}
