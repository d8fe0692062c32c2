package limiter

import (
	"context"
	"fmt"
	"time"
)

const (
	// PieceSize is the number of bytes with which a store ends a piece of what it reads: the piece holds at least one record,
	// and none after the one that brings it to this size. What reads a lot thus keeps no decision waiting.
	PieceSize = 256 << 10
	// PageSize is the number of bytes with which a page of a list ends, likewise.
	PageSize = 1 << 20
	// pageTime is how long reading a page may take.
	pageTime = 10 * time.Second
)

// reading returns a context that ends when reading a page has taken too long.
func reading(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, pageTime,
		fmt.Errorf("%w: the page was not read within %v: ask for fewer items a page, or later", ErrStoreUnavailable, pageTime))
}
