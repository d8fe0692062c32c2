package redisclient

import (
	"errors"
	"net/url"
	"regexp"
	"strings"
)

// forms is what URLs have to look like.
var forms = map[Mode]string{
	"":       "must be redis://USER:PASSWORD@HOST:PORT/DB, rediss://… or unix://PATH",
	Single:   "must be redis://USER:PASSWORD@HOST:PORT/DB, rediss://… or unix://PATH",
	Sentinel: "must be redis://HOST:PORT/DB?master_name=NAME&addr=HOST:PORT, or rediss://…, with the addresses of sentinels",
	Cluster:  "must be redis://USER:PASSWORD@HOST:PORT?addr=HOST:PORT, or rediss://…, with the addresses of nodes",
}

// encode is what to do about a password that has such characters.
const encode = "percent-encode what URLs keep for themselves in the name and the password: / as %2F, # as %23, ? as %3F, % as %25, @ as %40, a space as %20"

// configError is a fault of a URL that go-redis would take.
type configError struct{ text string }

func (e *configError) Error() string { return e.text }

// badEscape is a % that encodes nothing.
var badEscape = regexp.MustCompile(`%($|[^0-9A-Fa-f]|.$|.[^0-9A-Fa-f])`)

// rawCharacters reports whether a URL surely has characters in its name or password that end these early. go-redis
// takes some of those URLs, and asks elsewhere or with a part of the password.
func rawCharacters(text string) bool {
	scheme, rest, _ := strings.Cut(text, "://")
	if strings.Contains(rest, "#") || badEscape.MatchString(rest) {
		return true // a fragment says nothing to Redis
	}
	path, query, _ := strings.Cut(rest, "?")
	if _, err := url.ParseQuery(query); err != nil {
		return true
	}
	authority, path, _ := strings.Cut(path, "/")
	if scheme == "unix" {
		return authority != "" && !strings.HasSuffix(authority, "@") && strings.Contains(path, "@")
	}
	return strings.Contains(path, "@") // elsewhere that is a number
}

// unreadable is what to say of a URL that go-redis refuses. What go-redis says may repeat the URL.
func (c Config) unreadable() error {
	if _, rest, _ := strings.Cut(c.URL, "://"); strings.Contains(rest, "@") {
		return errors.New(forms[c.Mode] + "; " + encode)
	}
	return errors.New(forms[c.Mode])
}
