// Package pack writes numbers and texts in few bytes, and reads them. Whoever reads has to know what was written: nothing
// says what a number or a text is.
package pack

import (
	"encoding/binary"
	"slices"
)

// Writer writes to Bytes. The zero Writer is ready for use.
type Writer struct {
	Bytes []byte
	words []string
}

// Int writes a whole number: one byte for those from -64 to 63, ten for the largest.
func (w *Writer) Int(n int64) { w.Bytes = binary.AppendVarint(w.Bytes, n) }

// Bool writes one byte.
func (w *Writer) Bool(b bool) {
	var n int64
	if b {
		n = 1
	}
	w.Int(n)
}

// Text writes a text.
func (w *Writer) Text(s string) {
	w.Int(int64(len(s)))
	w.Bytes = append(w.Bytes, s...)
}

// Word writes a text that may come again. Every time but the first it takes a byte or two; so does an empty one.
func (w *Writer) Word(s string) {
	if s == "" {
		w.Int(0)
		return
	}
	at := slices.Index(w.words, s)
	if at < 0 {
		at = len(w.words)
		w.words = append(w.words, s)
		w.Int(int64(at) + 1)
		w.Text(s)
		return
	}
	w.Int(int64(at) + 1)
}

// Reader reads what a [Writer] has written. Texts that it returns are parts of what it reads.
type Reader struct {
	rest  string
	words []string
	bad   bool
}

// Read returns a reader of a text.
func Read(text string) *Reader { return &Reader{rest: text} }

// Bad reports whether something else was read than was written. What was returned then is of no use.
func (r *Reader) Bad() bool { return r.bad }

// Rest returns what has not been read.
func (r *Reader) Rest() string { return r.rest }

// Int reads a number.
func (r *Reader) Int() int64 {
	var n uint64
	for i := range min(len(r.rest), binary.MaxVarintLen64) {
		b := r.rest[i]
		n |= uint64(b&0x7f) << (7 * i)
		if b < 0x80 {
			r.rest = r.rest[i+1:]
			return int64(n>>1) ^ -int64(n&1)
		}
	}
	r.bad, r.rest = true, ""
	return 0
}

// Bool reads what Bool has written.
func (r *Reader) Bool() bool { return r.Int() == 1 }

// Len reads a number of things to come, each of which takes at least a byte.
func (r *Reader) Len() int {
	n := r.Int()
	if n < 0 || n > int64(len(r.rest)) {
		r.bad, r.rest = true, ""
		return 0
	}
	return int(n)
}

// Text reads a text.
func (r *Reader) Text() string {
	n := r.Len()
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

// Word reads a text that may have come before.
func (r *Reader) Word() string {
	switch n := r.Int(); {
	case n == 0 || r.bad:
		return ""
	case n > 0 && n <= int64(len(r.words)):
		return r.words[n-1]
	case n == int64(len(r.words))+1:
		s := r.Text()
		r.words = append(r.words, s)
		return s
	}
	r.bad, r.rest = true, ""
	return ""
}
