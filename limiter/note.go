package limiter

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// permitNote stands in the id of a hold that was granted without the store: what any instance has to know of it to answer
// whoever settles it, wherever the one that granted it is.
type permitNote struct {
	KeyID   string           `json:"k"`
	Model   string           `json:"m,omitempty"`
	Cost    map[string]int64 `json:"c,omitempty"`
	Born    Instant          `json:"b"`
	Expires Instant          `json:"x"`
}

// noteMark is where a note begins in a permit id. It is safe in a URL, and in no id without a note.
const noteMark = "~"

// withNote is the id of a hold with a note of what was granted.
func withNote(id string, a *attempt) string {
	n := permitNote{KeyID: a.ask.KeyID, Model: a.ask.Model, Cost: map[string]int64{}, Born: a.charge.Outcome.Now, Expires: InstantOf(a.decision.Expires)}
	if first := a.charge.Outcome.Grant; first != nil {
		n.Born = first.Now
	}
	for _, c := range a.ask.Cost {
		n.Cost[c.Unit] = c.Amount
	}
	text, err := json.Marshal(n)
	if err != nil {
		panic(err) // of strings and numbers
	}
	return id + noteMark + base64.RawURLEncoding.EncodeToString(text)
}

// cutNote splits a permit id into what it is kept under and its note, if it has one.
func cutNote(permitID string) (id, note string) {
	id, note, _ = strings.Cut(permitID, noteMark)
	return id, note
}

// maxNote bounds the notes that are read.
const maxNote = 8 << 10

// readNote reads a note as the ask that was granted, which is checked like any other: a note comes from outside.
func readNote(provider, note string) (n permitNote, ask *Ask, err error) {
	text, err := base64.RawURLEncoding.DecodeString(note)
	if err == nil && len(note) <= maxNote {
		err = json.Unmarshal(text, &n)
	}
	if err != nil || n.Born <= 0 || n.Expires < n.Born || n.Expires > n.Born.Later(MaxHoldLife) {
		return n, nil, ErrUnknownPermit
	}
	ask = &Ask{Provider: provider, KeyID: n.KeyID, Model: n.Model, Hold: true}
	for unit, amount := range n.Cost {
		ask.Cost = append(ask.Cost, Cost{unit, amount})
	}
	if ask.Validate() != nil {
		return n, nil, ErrUnknownPermit
	}
	return n, ask, nil
}
