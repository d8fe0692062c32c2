package main

// holdCounts are of clients that reserve. Tokens are units of the cost, and where they are adjusted summed over limits.
type holdCounts struct {
	Reserved    int64 `json:"reserved_tokens"` // by asks that were granted
	Settled     int64 `json:"settled"`
	Cancelled   int64 `json:"cancelled"`       // after the provider refused the call
	Refunded    int64 `json:"refunded_tokens"` // by settling and cancelling
	Extra       int64 `json:"extra_tokens"`    // charged by settling, beyond what was reserved
	Died        int64 `json:"died"`            // clients that did not settle
	Unsettled   int64 `json:"unsettled"`       // neither settled nor cancelled: permitd refused, or patience was over
	RepliesLost int64 `json:"replies_lost"`    // by the lossy proxy
}

func (h *holdCounts) figures(into map[string]float64) {
	if h == nil {
		return
	}
	for name, n := range map[string]int64{
		"reserved_tokens": h.Reserved, "settled": h.Settled, "cancelled": h.Cancelled, "refunded_tokens": h.Refunded,
		"extra_tokens": h.Extra, "died": h.Died, "unsettled": h.Unsettled, "replies_lost": h.RepliesLost,
	} {
		into[name] = float64(n)
	}
}

func (h *holdCounts) rows() []countRow {
	if h == nil {
		return nil
	}
	return []countRow{
		{"reserved", h.Reserved, "tokens, by the asks that were granted"},
		{"settled", h.Settled, "permits, to what the call took"},
		{"cancelled", h.Cancelled, "permits, after the provider refused the call"},
		{"refunded", h.Refunded, "tokens, by settling and cancelling"},
		{"extra charged", h.Extra, "tokens, by settling"},
		{"died", h.Died, "clients that did not settle"},
		{"unsettled", h.Unsettled, "permits that permitd would not settle, or not in time"},
		{"replies lost", h.RepliesLost, "by the proxy in front of permitd"},
	}
}

// reserved takes in a grant of so many units in all.
func (t *tally) reserved(cost map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, n := range cost {
		t.holds.Reserved += n
	}
}

// closed takes in a permit that was settled or cancelled.
func (t *tally) closed(verb string, adjusted map[string]int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if verb == "settle" {
		t.holds.Settled++
	} else {
		t.holds.Cancelled++
	}
	for _, n := range adjusted {
		t.holds.Refunded += max(0, -n)
		t.holds.Extra += max(0, n)
	}
}

// notClosed takes in an answer that was none, or no; again is whether it will be tried again.
func (t *tally) notClosed(err error, again bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.note(err)
	if !again {
		t.holds.Unsettled++
	}
}

func (t *tally) died() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holds.Died++
}

func (t *tally) replyLost() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holds.RepliesLost++
}
