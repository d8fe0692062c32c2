package limiter

import (
	"crypto/sha256"
	"encoding/hex"
)

const keyIDPrefix = "k_"

// keyIDLen is the length of "k_" and 32 hex digits.
const keyIDLen = len(keyIDPrefix) + 32

// KeyID names an API key without revealing it: "k_" and the first 32 hex digits of the key's SHA-256.
// Everything stored, logged or shown carries the id; the key itself is dropped once its id is known.
func KeyID(key string) string {
	sum := sha256.Sum256([]byte(key))
	var id [keyIDLen]byte
	copy(id[:], keyIDPrefix)
	hex.Encode(id[len(keyIDPrefix):], sum[:16])
	return string(id[:])
}

// ValidKeyID reports whether s has the form that [KeyID] returns.
func ValidKeyID(s string) bool {
	if len(s) != keyIDLen || s[:len(keyIDPrefix)] != keyIDPrefix {
		return false
	}
	for _, c := range []byte(s[len(keyIDPrefix):]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
