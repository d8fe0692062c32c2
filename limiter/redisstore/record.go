package redisstore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/permitd/permitd/limiter"
)

// A document is stored as lines: its tag, which the scripts compare; the store's time of the write, which they set; the
// record as JSON; and the document itself, which may have more lines and is missing when it was deleted.

// encodeRecord is what follows tag and time.
func encodeRecord(r limiter.Record) ([]byte, error) {
	body := r.Body
	r.Body, r.Tag, r.At = nil, "", 0
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	if body != nil {
		text = append(append(text, '\n'), body...)
	}
	return text, nil
}

var errRecord = errors.New("a stored document can't be read")

// decodeRecord reads a whole stored document; "" is one that was never written.
func decodeRecord(stored string) (r limiter.Record, err error) {
	if stored == "" {
		return r, nil
	}
	lines := bytes.SplitN([]byte(stored), []byte("\n"), 4)
	if len(lines) < 3 {
		return r, errRecord
	}
	at, err := strconv.ParseInt(string(lines[1]), 10, 64)
	if err != nil {
		return r, fmt.Errorf("%w: %w", errRecord, err)
	}
	if err := json.Unmarshal(lines[2], &r); err != nil {
		return r, fmt.Errorf("%w: %w", errRecord, err)
	}
	r.Tag, r.At = string(lines[0]), limiter.Instant(at)
	if len(lines) == 4 {
		r.Body = lines[3]
	}
	return r.Stamped(), nil
}
