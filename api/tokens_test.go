package api

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

func digestOf(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func TestParseTokens(t *testing.T) {
	list, err := ParseTokens(" permits:app:app-secret-0123456789, viewer:dash:short\r\n" +
		"# operator:old:was-here, operator:older:too\n\n" +
		"operator:ops:with:colons:0123456789,\n" +
		"\t# indented\n" +
		"operator:ci.2_b-C:sha256:" + strings.ToUpper(digestOf("hashed-elsewhere")))
	if err != nil {
		t.Fatal(err)
	}
	tokens := NewTokens(list)
	for i, want := range []struct {
		role  Role
		name  string
		token string
		short bool
	}{
		{RolePermits, "app", "app-secret-0123456789", false},
		{RoleViewer, "dash", "short", true},
		{RoleOperator, "ops", "with:colons:0123456789", false},
		{RoleOperator, "ci.2_b-C", "hashed-elsewhere", false},
	} {
		got := tokens.find(want.token)
		if got == nil || got.Role != want.role || got.Name != want.name || got.Short != want.short || got.Name != list[i].Name {
			t.Errorf("%s: %+v", want.name, got)
		}
	}
	for _, unknown := range []string{
		"", "was-here", "app-secret-012345678", "app-secret-0123456789 ", "sha256:" + digestOf("hashed-elsewhere"), digestOf("hashed-elsewhere"),
		"operator:ops:with:colons:0123456789", strings.Repeat("x", 10_000),
	} {
		if got := tokens.find(unknown); got != nil {
			t.Errorf("%.30q is %s", unknown, got.Name)
		}
	}
}

func TestTokensThatAreRefused(t *testing.T) {
	var many strings.Builder
	for i := range maxTokens + 1 {
		fmt.Fprintf(&many, "permits:n%d:secret-%d\n", i, i)
	}
	const form = "must be role:name:token"
	const role = "the role must be permits, viewer or operator"
	const name = "the name must be 1 to 64 of A-Z a-z 0-9 . _ -"
	const token = "the token must be 1 to 512 visible ASCII characters"
	for _, tt := range []struct{ text, want string }{
		{"", "names no token: it takes at least one role:name:token"},
		{" ,\n,\n # permits:a:secret\n", "names no token"},
		{"secret", "entry 1: " + form},
		{"permits:secret", "entry 1: " + form},
		{"permits:a:x,secret", "entry 2: " + form},
		{"permits:a:x\n\n# c\n,secret:b:y", "entry 2: " + role},
		{"Permits:a:secret", "entry 1: " + role},
		{":a:secret", "entry 1: " + role},
		{"admin:a:secret", "entry 1: " + role},
		{"permits::secret", "entry 1: " + name},
		{"permits:secret name:x", "entry 1: " + name},
		{"permits:" + strings.Repeat("n", 65) + ":secret", "entry 1: " + name},
		{"permits:a:", "entry 1 (a): " + token},
		{"permits:a:sécret", "entry 1 (a): " + token},
		{"permits:a:se cret", "entry 1 (a): " + token},
		{"permits:a:" + strings.Repeat("s", maxTokenLen+1), "entry 1 (a): " + token},
		{"permits:a:sha256:", "entry 1 (a): sha256: must be followed by the 64 hex digits"},
		{"permits:a:sha256:secret", "entry 1 (a): sha256: must be followed"},
		{"permits:a:sha256:" + digestOf("secret") + "0", "entry 1 (a): sha256: must be followed"},
		{"permits:a:secret-1,viewer:b:x,operator:a:secret-2", "entry 3 (a): an earlier entry has this name"},
		{"permits:a:secret,operator:b:secret", "entry 2 (b): an earlier entry has the same token"},
		{"permits:a:secret,operator:b:sha256:" + digestOf("secret"), "entry 2 (b): an earlier entry has the same token"},
		{many.String(), fmt.Sprintf("entry %d (n%d): there are at most %d tokens", maxTokens+1, maxTokens, maxTokens)},
	} {
		list, err := ParseTokens(tt.text)
		if err == nil {
			t.Errorf("%.40q: accepted", tt.text)
			continue
		}
		if text := err.Error(); !strings.HasPrefix(text, tt.want) || list != nil || strings.Contains(text, "secret") || strings.Contains(text, "\n") {
			t.Errorf("%.40q: %s\nwant %s", tt.text, text, tt.want)
		}
	}
}

// TestEveryTokenIsCompared: the place in the list makes no difference, to who is found either.
func TestEveryTokenIsCompared(t *testing.T) {
	var text strings.Builder
	for i := range maxTokens {
		fmt.Fprintf(&text, "permits:n%d:token-%d\n", i, i)
	}
	list, err := ParseTokens(text.String())
	if err != nil {
		t.Fatal(err)
	}
	tokens := NewTokens(list)
	for i := range maxTokens {
		if got := tokens.find(fmt.Sprintf("token-%d", i)); got == nil || got.Name != fmt.Sprintf("n%d", i) {
			t.Fatalf("token %d: %+v", i, got)
		}
	}
}

func TestTokensAreReplacedWhole(t *testing.T) {
	a, _ := ParseTokens("permits:a:first-token")
	b, _ := ParseTokens("operator:b:second-token")
	tokens := NewTokens(a)
	tokens.Replace(b)
	if got := tokens.find("first-token"); got != nil {
		t.Error("the token before is still accepted")
	}
	if got := tokens.find("second-token"); got == nil || got.Role != RoleOperator {
		t.Errorf("%+v", got)
	}
}

func TestFindingATokenAllocatesNothing(t *testing.T) {
	list, _ := ParseTokens("permits:a:first-token,viewer:b:second-token")
	tokens := NewTokens(list)
	if n := testing.AllocsPerRun(100, func() { tokens.find("second-token") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzTokens: no text makes the parser panic; a refusal is one line that repeats none of the text's tokens; what is accepted
// is found by its token, under its name.
func FuzzTokens(f *testing.F) {
	for _, text := range []string{
		"permits:app:app-secret-0123456789, viewer:dash:sha256:" + digestOf("x"), "# c\n\noperator:a:b:c\r\nviewer:b:d,", "permits:a", "admin:a:b",
		"permits:a:b,permits:a:c", "permits:a:b,viewer:c:b", "permits:a:sha256:zz",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseTokens(text)
		if err != nil {
			if list != nil || strings.ContainsAny(err.Error(), "\r\n") {
				t.Fatalf("%q: %v, %v", text, list, err)
			}
		}
		tokens, names := NewTokens(list), map[string]bool{}
		for line := range strings.Lines(text) {
			for entry := range strings.SplitSeq(line, ",") {
				parts := strings.SplitN(strings.TrimSpace(entry), ":", 3)
				if len(parts) < 3 {
					continue
				}
				if err != nil && len(parts[2]) > 20 && strings.Contains(err.Error(), parts[2]) && !strings.Contains(parts[1], parts[2]) {
					t.Fatalf("%q: %v", text, err)
				}
				if err == nil && !strings.HasPrefix(strings.TrimSpace(line), "#") && !strings.HasPrefix(parts[2], "sha256:") {
					if got := tokens.find(parts[2]); got == nil || got.Name != parts[1] || roles[parts[0]] != got.Role {
						t.Fatalf("%q: %q is %+v", text, parts[2], got)
					}
				}
			}
		}
		for _, token := range list {
			if names[token.Name] || !tokenName.MatchString(token.Name) {
				t.Fatalf("%q: name %q", text, token.Name)
			}
			names[token.Name] = true
		}
	})
}
