package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/labstack/echo/v4"

	"github.com/permitd/permitd/limiter"
)

// maxNewKeys is the most keys that one request creates.
const maxNewKeys = 1000

const keyTaken = "the key has another entry, and nothing was written: GET it, and change it with PUT or PATCH"

// newKey is an entry to be made for a key.
type newKey struct {
	at  string // JSON pointer
	id  string
	doc []byte // of the entry: the members beside key
}

// create answers POST /v1/providers/{provider}/keys, of one key or of many.
func (s entryRoutes) create(c echo.Context) error {
	provider, err := providerParam(c)
	if err != nil {
		return err
	}
	e, err := readPlainEdit(c)
	if err != nil {
		return err
	}
	keys, err := readNewKeys(c.Request())
	if err != nil && !errors.Is(err, limiter.ErrInvalid) {
		return err
	}
	if err := s.check(c.Request().Context(), provider, keys.list, err); err != nil {
		return err
	}
	if keys.many {
		return s.createAll(c, provider, keys.list, e)
	}
	w, err := s.createOne(c, provider, keys.list[0], e)
	if err != nil {
		return err
	}
	return s.wrote(c, provider, w)
}

// check checks entries against the policy in force. It adds what is wrong with them to what is known to be.
func (s entryRoutes) check(ctx context.Context, provider string, keys []newKey, known error) error {
	var found *limiter.InvalidError
	o := objectReader{}
	if errors.As(known, &found) {
		o.faults = found.Faults
	}
	if len(keys) > 0 {
		d, err := s.coordinator.Policy(ctx, provider)
		if err != nil {
			return err
		}
		for _, k := range keys {
			var invalid *limiter.InvalidError
			if _, err := limiter.ParseEntry(s.kind, k.doc, d.Policy); errors.As(err, &invalid) {
				o.below(k.at, invalid.Faults)
			}
		}
	}
	if len(o.faults) > 0 {
		return invalid(o.faults...)
	}
	return nil
}

// createAll makes each entry on its own, and says what became of it in its place. When the store is lost on the way it
// does not go on.
func (s entryRoutes) createAll(c echo.Context, provider string, keys []newKey, e limiter.Edit) error {
	text := []byte(`{"items":[`)
	var lost error
	for i, k := range keys {
		if i > 0 {
			text = append(text, ',')
		}
		w, err := limiter.StoredEntry{}, lost
		if lost == nil {
			w, err = s.createOne(c, provider, k, e)
		}
		if err != nil {
			p := s.explain(err, c)
			if p.status == http.StatusServiceUnavailable {
				lost = errNotTried
			}
			text = p.append(text)
			continue
		}
		status := http.StatusOK
		if w.Created {
			status = http.StatusCreated
		}
		text = append(appendNoted(appendEntry(text, w), w.Restarted, w.Misfits), `,"status":`...)
		text = append(strconv.AppendInt(text, int64(status), 10), '}')
	}
	return s.written(c, writeJSON(c, http.StatusOK, append(text, "]}"...)))
}

var errNotTried = &problem{
	status: http.StatusServiceUnavailable, name: "store-unavailable", title: "Store unavailable",
	detail: "this was not tried after an earlier one failed: send it again later",
}

// createOne makes an entry. One that is there already is as good, if it says the same.
func (s entryRoutes) createOne(c echo.Context, provider string, k newKey, e limiter.Edit) (limiter.StoredEntry, error) {
	ctx := c.Request().Context()
	id := limiter.DocID{Provider: provider, Kind: s.kind, Name: k.id}
	e.Absent = true
	w, err := s.coordinator.PutEntry(ctx, id, k.doc, e)
	if err == nil {
		s.audit(c, "key created", provider, k.id, w.Revision, e)
		return w, nil
	}
	if errors.Is(err, limiter.ErrConflict) {
		there, thereErr := s.coordinator.Entry(ctx, id)
		if thereErr == nil && there.RotatedTo == "" && sameJSON(there.Entry.Body(), k.doc) {
			there.Created = false
			return there, nil
		}
	}
	return w, edited(err, keyTaken)
}

// sameJSON reports whether two documents say the same, in whatever order.
func sameJSON(a, b []byte) bool {
	x, y := jsontext.Value(bytes.Clone(a)), jsontext.Value(bytes.Clone(b))
	return x.Canonicalize() == nil && y.Canonicalize() == nil && bytes.Equal(x, y)
}

// newKeys is a body that creates entries.
type newKeys struct {
	list []newKey
	many bool // in an array
}

// readNewKeys reads entries with their keys, of which it keeps only the ids. Where something is wrong with them they come
// with the error, so that their entries can be checked too; but not from text that is not JSON.
func readNewKeys(r *http.Request) (keys newKeys, err error) {
	b, err := readBody(r, maxKeysBody, errKeysTooLarge)
	if err != nil {
		return keys, err
	}
	defer b.release()
	k := keyReader{objectReader: objectReader{body: b}}
	k.known = k.fields()
	if keys.many = b.dec.PeekKind() == '['; !keys.many {
		err = k.one("")
	} else {
		var n int
		n, err = b.items(maxNewKeys, func(i int) error { return k.one("/" + strconv.Itoa(i)) })
		if err == nil && (n == 0 || n > maxNewKeys) {
			k.fault("", fmt.Sprintf("must be an array of 1 to %d keys, not of %d", maxNewKeys, n))
		}
	}
	if err == nil {
		err = b.end()
	}
	if err == nil {
		keys.list = k.list
	}
	return keys, k.finish(err)
}

// keyReader reads entries with their keys.
type keyReader struct {
	objectReader
	list []newKey
	next newKey
}

func (k *keyReader) one(at string) error {
	k.next = newKey{at: at, doc: []byte{'{'}}
	if err := k.object(at); err != nil {
		return err
	}
	k.next.doc = append(k.next.doc, '}')
	k.list = append(k.list, k.next)
	return nil
}

// fields are the key, and the members of an entry.
func (k *keyReader) fields() []field {
	fields := []field{{"key", "send the API key", func(string) (string, error) { return k.key(&k.next.id) }}}
	for _, name := range []string{"label", "pool", "limits", "disabled"} {
		fields = append(fields, field{name, "", func(string) (string, error) { return "", k.keep(name) }})
	}
	return fields
}

// keep takes a member into the entry as it is written.
func (k *keyReader) keep(name string) error {
	v, err := k.dec.ReadValue()
	if err != nil {
		return err
	}
	if len(k.next.doc) > 1 {
		k.next.doc = append(k.next.doc, ',')
	}
	k.next.doc = append(plain(k.next.doc, name), ':')
	k.next.doc = append(k.next.doc, v...)
	return nil
}
