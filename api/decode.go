package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/permitd/permitd/limiter"
)

// The getters here read one JSON value and tell what is wrong with it by a fault text, "" when nothing is; they fail
// only where the text is not JSON.

// members reads the object that comes next and calls each for every member, with the value still to be read. name is
// good until then.
func (b *body) members(each func(name []byte) error) error {
	if _, err := b.dec.ReadToken(); err != nil {
		return err
	}
	for b.dec.PeekKind() != '}' {
		name, err := b.dec.ReadValue()
		if err != nil {
			return err
		}
		if err := each(b.unquote(name)); err != nil {
			return err
		}
	}
	_, err := b.dec.ReadToken()
	return err
}

// end checks that nothing follows.
func (b *body) end() error {
	_, err := b.dec.ReadToken()
	switch {
	case errors.Is(err, io.EOF):
		return nil
	case err == nil:
		err = errTrailing
	}
	return err
}

var errTrailing = errors.New("more follows after the end of the JSON value")

// unquote is a JSON string's text, good until the next read.
func (b *body) unquote(v jsontext.Value) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	b.scratch, _ = jsontext.AppendUnquote(b.scratch[:0], v) // the decoder has checked it
	return b.scratch
}

// str reads a string.
func (b *body) str(into *string) (fault string, err error) {
	v, err := b.dec.ReadValue()
	switch {
	case err != nil:
		return "", err
	case v.Kind() != '"':
		return "must be a string, not " + kindName(v.Kind()), nil
	}
	*into = string(b.unquote(v))
	return "", nil
}

// boolean reads true or false.
func (b *body) boolean(into *bool) (fault string, err error) {
	v, err := b.dec.ReadValue()
	if err != nil {
		return "", err
	}
	k := v.Kind()
	if k != 't' && k != 'f' {
		return "must be true or false, not " + kindName(k), nil
	}
	*into = k == 't'
	return "", nil
}

// amount reads a cost.
func (b *body) amount(into *int64) (fault string, err error) {
	return b.whole(into, 0, limiter.MaxAmount)
}

// whole reads a whole number from least to most, however it is written: see [limiter.ParseWhole].
func (b *body) whole(into *int64, least, most int64) (fault string, err error) {
	v, err := b.dec.ReadValue()
	if err != nil {
		return "", err
	}
	what := kindName(v.Kind())
	if v.Kind() == '0' {
		n, ok := limiter.ParseWhole([]byte(v))
		if ok && n >= least && n <= most {
			*into = n
			return "", nil
		}
		if len(v) <= 32 {
			what = string(v)
		}
	}
	return fmt.Sprintf("must be a whole number from %d to %d, not %s", least, most, what), nil
}

func kindName(k jsontext.Kind) string {
	switch k {
	case 'n':
		return "null"
	case 't', 'f':
		return "a boolean"
	case '"':
		return "a string"
	case '0':
		return "a number"
	case '[':
		return "an array"
	}
	return "an object"
}

// malformed is the fault of text that is not JSON, without the name of the library that says so.
func malformed(err error) limiter.Fault {
	detail := "malformed JSON: "
	var syntactic *jsontext.SyntacticError
	switch {
	case errors.Is(err, errTrailing):
		detail += err.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		detail += "it ends too early"
	case errors.As(err, &syntactic):
		detail += fmt.Sprintf("%v (near byte %d)", syntactic.Err, syntactic.ByteOffset)
	default:
		detail += "it can't be read"
	}
	return limiter.Fault{Detail: detail}
}

// pointer appends a member's name to a JSON pointer (RFC 6901).
func pointer(base string, name []byte) string {
	return base + "/" + pointerEscapes.Replace(string(name))
}

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")
