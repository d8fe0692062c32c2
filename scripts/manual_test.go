package scripts

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

var (
	scriptCall = regexp.MustCompile(`(?m)^(scripts/[a-z-]+)\b(.*)$`)
	longFlag   = regexp.MustCompile(`--[a-z-]+`)
)

// TestManualScripts: the scripts that the manual tells to run are there, and know the flags that it gives them. The runs
// themselves take minutes; scripts/test has the short ones.
func TestManualScripts(t *testing.T) {
	found := map[string]bool{}
	for _, page := range []string{"docs/load-tests.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile("../" + page)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(text), "```sh\n")[1:] {
			commands, _, _ := strings.Cut(part, "```")
			for _, m := range scriptCall.FindAllStringSubmatch(commands, -1) {
				name := m[1]
				if info, err := os.Stat("../" + name); err != nil || info.Mode()&0o111 == 0 {
					t.Errorf("%s: %s is no command: %v", page, name, err)
					continue
				}
				flags := longFlag.FindAllString(m[2], -1)
				if found[name] = true; len(flags) == 0 {
					continue
				}
				help, err := exec.Command("../"+name, "--help").CombinedOutput()
				if err != nil {
					t.Errorf("%s --help: %v\n%s", name, err, help)
				}
				for _, flag := range flags {
					if !strings.Contains(string(help), flag) {
						t.Errorf("%s: %s does not know %s:\n%s", page, name, flag, help)
					}
				}
			}
		}
	}
	for _, name := range []string{"scripts/loadtest", "scripts/faults", "scripts/soak", "scripts/bench", "scripts/rolls"} {
		if !found[name] {
			t.Errorf("the manual does not tell of %s", name)
		}
	}
}
