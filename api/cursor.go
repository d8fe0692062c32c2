package api

import (
	"encoding/base64"
	"net/url"
	"strconv"
	"strings"

	"github.com/permitd/permitd/limiter"
)

// maxPageSize is the longest page of a list, and what it is unless a client asks for less.
const maxPageSize = 1000

// page reads what a client says of the page that it wants: what it comes after, "" for the first, and how long it is.
// valid says what the items of this list may be known by.
func page(params url.Values, list string, valid func(string) bool) (after string, size int, err error) {
	var faults []limiter.Fault
	if cursor := params.Get("cursor"); cursor != "" {
		if after = readCursor(list, cursor); !valid(after) {
			faults = append(faults, limiter.Fault{Pointer: "/cursor", Detail: "must be the next_cursor of the page before; leave it out to start anew"})
		}
	}
	size = maxPageSize
	if pageSize := params.Get("page_size"); pageSize != "" {
		size, err = strconv.Atoi(pageSize)
		if err != nil || size < 1 || size > maxPageSize {
			faults = append(faults, limiter.Fault{Pointer: "/page_size", Detail: "must be a whole number from 1 to " + strconv.Itoa(maxPageSize)})
		}
	}
	if len(faults) > 0 {
		return "", 0, invalid(faults...)
	}
	return after, size, nil
}

// newCursor stands for where a page of a list ended. It names the list, so that a cursor of another is refused, and is
// written so that nobody is tempted to make one up.
func newCursor(list, last string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(list + " " + last))
}

// readCursor is where the page ended; "" of what newCursor did not write for this list.
func readCursor(list, cursor string) string {
	text, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	last, ok := strings.CutPrefix(string(text), list+" ")
	if err != nil || !ok {
		return ""
	}
	return last
}

// appendNext ends a list: the cursor of its next page, or null on the last one.
func appendNext(dst []byte, list, last string) []byte {
	dst = append(dst, `],"next_cursor":`...)
	if last != "" {
		last = newCursor(list, last)
	}
	return append(plainOrNull(dst, last), '}')
}
