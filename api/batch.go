package api

import (
	"fmt"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

const maxBatch = 1000

// batch answers POST /v1/permits/batch. Each element is decided as if it had been sent alone; what is wrong with one is
// told in its place and does not touch the others.
func (s *Server) batch(c echo.Context) error {
	r := c.Request()
	if err := checkNoIdempotencyKey(r.Header); err != nil {
		return err
	}
	items, err := readBatch(r)
	if err != nil {
		return err
	}
	asks := make([]limiter.Ask, 0, len(items))
	for _, item := range items {
		if len(item.faults) == 0 {
			item.ask.Caller = caller(c)
			asks = append(asks, item.ask)
		}
	}
	results := s.coordinator.AcquireBatch(r.Context(), asks)

	pooled := buffers.Get().(*[]byte)
	text := append(*pooled, `{"decisions":[`...)
	for i := range items {
		if i > 0 {
			text = append(text, ',')
		}
		result := limiter.Result{}
		if faults := items[i].faults; len(faults) > 0 {
			result.Err = invalid(faults...)
		} else {
			result, results = results[0], results[1:]
		}
		s.metrics.asked(&items[i].ask, result.Decision, result.Err)
		text = s.appendResult(c, text, result)
	}
	text = append(text, "]}"...)
	defer giveBack(pooled, text)
	return s.written(c, writeJSON(c, http.StatusOK, text))
}

// appendResult appends what became of one element.
func (s *Server) appendResult(c echo.Context, dst []byte, r limiter.Result) []byte {
	if r.Err == nil {
		return appendDecision(dst, r.Decision, true)
	}
	return s.explain(r.Err, c).append(dst)
}

// batchItem is one element of a batch.
type batchItem struct {
	ask    limiter.Ask
	faults []limiter.Fault
}

// readBatch reads a body that is a batch and nothing else.
func readBatch(r *http.Request) ([]batchItem, error) {
	b, err := readBody(r, maxBatchBody, errBatchTooLarge)
	if err != nil {
		return nil, err
	}
	defer b.release()
	batch := batchReader{body: b}
	if kind := b.dec.PeekKind(); kind != '{' {
		batch.fault("", "must be an object, not "+kindName(kind))
		err = b.dec.SkipValue()
	} else {
		err = b.members(batch.member)
	}
	if err == nil {
		err = b.end()
	}
	if err != nil {
		return nil, invalid(malformed(err))
	}
	if n := batch.count; len(batch.faults) == 0 && (n == 0 || n > maxBatch) {
		batch.fault("/permits", fmt.Sprintf("must be an array of 1 to %d asks, not of %d", maxBatch, n))
	}
	if len(batch.faults) > 0 {
		return nil, invalid(batch.faults...)
	}
	return batch.items, nil
}

type batchReader struct {
	*body
	items  []batchItem
	count  int // of elements; only the first maxBatch are read
	given  bool
	faults []limiter.Fault // of the batch as a whole
}

func (r *batchReader) fault(pointer, detail string) {
	if len(r.faults) < maxFaults {
		r.faults = append(r.faults, limiter.Fault{Pointer: pointer, Detail: detail})
	}
}

func (r *batchReader) member(name []byte) error {
	switch {
	case string(name) != "permits":
		r.fault(pointer("", name), "unknown member; known here: permits")
		return r.dec.SkipValue()
	case r.given:
		r.fault("/permits", "is given twice")
		return r.dec.SkipValue()
	}
	r.given = true
	if kind := r.dec.PeekKind(); kind != '[' {
		r.fault("/permits", "must be an array of asks, not "+kindName(kind))
		return r.dec.SkipValue()
	}
	return r.elements()
}

func (r *batchReader) elements() (err error) {
	r.count, err = r.body.items(maxBatch, func(int) error {
		var item batchItem
		faults, err := (&askReader{ask: &item.ask, known: elementMembers}).read(r.body)
		if err != nil {
			return err
		}
		item.faults = faults
		r.items = append(r.items, item)
		return nil
	})
	return err
}
