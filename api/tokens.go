package api

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync/atomic"
)

// Role is what a token may do.
type Role uint8

// The roles.
const (
	RolePermits  Role = iota + 1 // ask for permits, settle, cancel and extend them
	RoleViewer                   // read everything
	RoleOperator                 // everything
)

var roles = map[string]Role{"permits": RolePermits, "viewer": RoleViewer, "operator": RoleOperator}

// Token is one entry of a list of tokens. Of the token itself only the digest is held.
type Token struct {
	Role Role
	Name string // unique in its list
	// Short tells of a token that was given in the clear and is so short that it may be guessed.
	Short  bool
	digest [sha256.Size]byte
}

const (
	maxTokens   = 1000 // each is compared with what is presented
	maxTokenLen = 512
	// ShortToken is how many characters a token needs at least so as not to be [Token.Short]: 16 random ones of 64 are 96
	// bits.
	ShortToken = 16
)

var (
	tokenName   = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	tokenText   = regexp.MustCompile(`^[!-~]{1,512}$`)
	tokenDigest = regexp.MustCompile(`^[0-9A-Fa-f]{64}$`)
)

// ParseTokens reads a list of role:name:token, separated by commas or newlines. A token is 1 to 512 visible ASCII
// characters other than a comma, or sha256: and the 64 hex digits of its SHA-256. Blank entries are skipped, and so are
// lines that begin with #. The error names the first entry that is wrong, by its number and where possible its name, and
// repeats nothing that may be a token.
func ParseTokens(text string) ([]Token, error) {
	var list []Token
	names, digests := map[string]bool{}, map[[sha256.Size]byte]bool{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(strings.TrimSpace(line), "#") {
			continue
		}
		for entry := range strings.SplitSeq(line, ",") {
			entry = strings.TrimSpace(entry)
			if entry == "" {
				continue
			}
			t, err := parseToken(entry)
			switch {
			case err != nil:
			case names[t.Name]:
				err = errors.New("an earlier entry has this name: give each token a name of its own")
			case digests[t.digest]:
				err = errors.New("an earlier entry has the same token: make one for each name")
			case len(list) == maxTokens:
				err = fmt.Errorf("there are at most %d tokens: take some out", maxTokens)
			}
			if err != nil {
				return nil, entryError(len(list)+1, t.Name, err)
			}
			names[t.Name], digests[t.digest] = true, true
			list = append(list, t)
		}
	}
	if len(list) == 0 {
		return nil, errors.New("names no token: it takes at least one role:name:token")
	}
	return list, nil
}

// entryError says which entry is wrong, by its name only once that is known to be one.
func entryError(n int, name string, err error) error {
	if name != "" {
		return fmt.Errorf("entry %d (%s): %w", n, name, err)
	}
	return fmt.Errorf("entry %d: %w", n, err)
}

// parseToken reads one entry. With an error, the token has its name only if all before the name was right.
func parseToken(entry string) (t Token, err error) {
	role, rest, _ := strings.Cut(entry, ":")
	name, secret, whole := strings.Cut(rest, ":")
	if !whole {
		return t, errors.New("must be role:name:token")
	}
	if t.Role = roles[role]; t.Role == 0 {
		return t, errors.New("the role must be permits, viewer or operator")
	}
	if !tokenName.MatchString(name) {
		return t, errors.New("the name must be 1 to 64 of A-Z a-z 0-9 . _ -")
	}
	t.Name = name
	if sum, ok := strings.CutPrefix(secret, "sha256:"); ok {
		if !tokenDigest.MatchString(sum) {
			return t, errors.New("sha256: must be followed by the 64 hex digits of the token's SHA-256 (printf %s TOKEN | sha256sum)")
		}
		_, err := hex.Decode(t.digest[:], []byte(sum))
		return t, err
	}
	if !tokenText.MatchString(secret) {
		return t, fmt.Errorf("the token must be 1 to %d visible ASCII characters other than a comma, or sha256: and its SHA-256 in hex", maxTokenLen)
	}
	t.Short, t.digest = len(secret) < ShortToken, sha256.Sum256([]byte(secret))
	return t, nil
}

// Tokens are those that may use permitd at the moment. It is used by many goroutines at once.
type Tokens struct{ list atomic.Pointer[[]Token] }

// NewTokens begins with a list of [ParseTokens].
func NewTokens(list []Token) *Tokens {
	t := new(Tokens)
	t.Replace(list)
	return t
}

// Replace puts another list in place of the one before, all at once. From now on nothing else is accepted.
func (t *Tokens) Replace(list []Token) { t.list.Store(&list) }

// find is the token that was presented, nil if it is none of the list. However many there are and whichever it is, it is
// compared with every one of them in the same time.
func (t *Tokens) find(presented string) *Token {
	var room [maxTokenLen]byte
	digest := sha256.Sum256(append(room[:0], presented...))
	list := *t.list.Load()
	at := -1
	for i := range list {
		same := subtle.ConstantTimeCompare(digest[:], list[i].digest[:])
		at = subtle.ConstantTimeSelect(same, i, at)
	}
	if at < 0 {
		return nil
	}
	return &list[at]
}
